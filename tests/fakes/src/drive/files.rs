//! The methods of `files` but for `list` and bytes: get, create, update, copy, delete.
use serde_json::{Value, json};

use super::failure::Failure;
use super::metadata::Metadata;
use super::model::{FOLDER, Item, ME, ROOT};
use super::{Answer, Drive, is_root, truth};
use crate::{Request, Response, World};

impl Drive {
    pub(super) fn files(&mut self, rest: &[&str], request: &Request, world: &mut World) -> Answer {
        match (request.method.as_str(), rest) {
            ("GET", []) => self.list(request, world),
            ("POST", []) => {
                let id = self.create(&Metadata::read(&request.body)?, request, world)?;
                self.show(&id, request)
            }
            ("GET", ["generateIds"]) => self.generate_ids(request, world),
            ("DELETE", ["trash"]) => self.empty_trash(request, world),
            ("GET", [id]) if request.param("alt").as_deref() == Some("media") => self.download(id, request, world),
            ("GET", [id]) => {
                let id = self.find(id, request)?.id.clone();
                self.show(&id, request)
            }
            ("PATCH", [id]) => {
                let metadata = Metadata::read(&request.body)?;
                let id = self.update(id, &metadata, request, world)?;
                self.show(&id, request)
            }
            ("DELETE", [id]) => {
                let id = self.writable(id, request)?.id.clone();
                self.store.remove(&id, world.now());
                Ok(Response::empty(204))
            }
            ("POST", [id, "copy"]) => self.copy(id, request, world),
            ("GET", [id, "export"]) => self.export(id, request),
            ("GET", [id, "listLabels"]) => self.list_labels(id, request),
            ("POST", [id, "modifyLabels"]) => self.modify_labels(id, request, world),
            (_, [id, "permissions", rest @ ..]) => self.permissions(id, rest, request, world),
            ("GET", [id, "revisions", revision]) => self.revision(id, revision, request),
            (_, [id, "revisions", rest @ ..]) => self.revisions(id, rest, request, world),
            _ => Err(Failure::not_found(&request.path)),
        }
    }

    /// An item that may be changed.
    pub(super) fn writable(&self, id: &str, request: &Request) -> Result<&Item, Failure> {
        let item = self.find(id, request)?;
        if item.owner != ME && item.drive.is_none() {
            return Err(Failure::denied("insufficientFilePermissions"));
        }
        if is_root(item) && request.method == "DELETE" {
            return Err(Failure::denied("insufficientFilePermissions"));
        }
        Ok(item)
    }

    /// The id that a client chose for something new, else a fresh one. Ids of `generateIds` are good for creations and copies.
    fn new_id(&mut self, metadata: &Metadata, world: &mut World) -> Result<String, Failure> {
        match metadata.text("id") {
            Some(id) if self.store.items.contains_key(id) => {
                let text = "A file already exists with the provided ID.";
                Err(Failure { status: 409, reason: "fileIdInUse".into(), message: text.into() })
            }
            Some(id) => Ok(id.to_owned()),
            None => Ok(self.store.fresh_id(world)),
        }
    }

    /// A new item without bytes, or with none yet.
    pub(super) fn create(
        &mut self,
        metadata: &Metadata,
        request: &Request,
        world: &mut World,
    ) -> Result<String, Failure> {
        metadata.check(true)?;
        let id = self.new_id(metadata, world)?;
        let mut parents = metadata.parents();
        if parents.is_empty() {
            parents.push(ROOT.to_owned());
        }
        if parents.len() > 1 {
            return Err(Failure::denied("cannotAddParent"));
        }
        let mut item =
            Item { id: id.clone(), name: "Untitled".into(), owner: ME.into(), created: world.now(), ..Item::default() };
        for parent in &parents {
            self.place(&mut item, parent, request)?;
        }
        if let Some(target) = metadata.target() {
            item.target = Some(self.find(target, request)?.id.clone());
        }
        metadata.apply(&mut item, world.now())?;
        if item.mime_type.is_empty() {
            item.mime_type = "application/octet-stream".into();
        }
        if !metadata.is_native() {
            item.write(bytes::Bytes::new().into(), false, world);
        } else if !metadata.is_bare() {
            item.export = "An empty document.".into();
        }
        self.store.put(item, world.now());
        self.tricks.appeared(&id);
        Ok(id)
    }

    /// Puts an item into a folder, into which drive and space it goes with it.
    fn place(&self, item: &mut Item, parent: &str, request: &Request) -> Result<(), Failure> {
        let folder = self.find(parent, request)?;
        if !folder.is_folder() {
            return Err(Failure::invalid("parentNotAFolder", "The specified parent is not a folder."));
        }
        if self.store.chain(folder).iter().any(|above| above.id == item.id) {
            return Err(Failure::invalid("invalid", "A folder cannot lie within itself."));
        }
        item.drive.clone_from(&folder.drive);
        item.app_data = folder.app_data;
        item.parents.retain(|have| *have != folder.id);
        item.parents.push(folder.id.clone());
        Ok(())
    }

    /// Changes metadata and parents. Without `modifiedTime` a renaming or a move leaves the time as it is.
    pub(super) fn update(
        &mut self,
        id: &str,
        metadata: &Metadata,
        request: &Request,
        world: &World,
    ) -> Result<String, Failure> {
        metadata.check(false)?;
        let mut item = self.writable(id, request)?.clone();
        let list = |name: &str| {
            let text = request.param(name).unwrap_or_default();
            text.split(',').filter(|id| !id.is_empty()).map(|id| self.store.id(id).to_owned()).collect::<Vec<_>>()
        };
        let (add, remove) = (list("addParents"), list("removeParents"));
        if is_root(&item) && !(add.is_empty() && remove.is_empty() && metadata.text("name").is_none()) {
            return Err(Failure::denied("insufficientFilePermissions"));
        }
        item.parents.retain(|parent| !remove.contains(parent));
        for parent in &add {
            if !item.parents.is_empty() && !item.parents.contains(parent) {
                let message = "Increasing the number of parents is not allowed".into();
                return Err(Failure { message, ..Failure::denied("cannotAddParent") });
            }
            self.place(&mut item, parent, request)?;
        }
        if item.parents.is_empty() && !remove.is_empty() {
            return Err(Failure::invalid("invalid", "An item keeps one parent at least."));
        }
        let before = item.modified;
        metadata.apply(&mut item, before)?;
        let id = item.id.clone();
        self.store.put(item, world.now());
        Ok(id)
    }

    fn copy(&mut self, id: &str, request: &Request, world: &mut World) -> Answer {
        let source = self.find(id, request)?.clone();
        let metadata = Metadata::read(&request.body)?;
        if source.is_folder() {
            return Err(Failure {
                message: "This file cannot be copied by the user.".into(),
                ..Failure::denied("cannotCopyFile")
            });
        }
        metadata.check(true)?;
        self.room(source.content().map_or(0, |content| content.bytes.len()))?;
        let mut item = source.clone();
        item.id = self.new_id(&metadata, world)?;
        item.name = format!("Copy of {}", source.name);
        (item.created, item.trashed, item.starred, item.resource_key) = (world.now(), false, false, None);
        (item.owner, item.shared_with_me, item.permissions) = (ME.into(), None, Vec::new());
        let parents = metadata.parents();
        if let Some(parent) = parents.first() {
            item.parents.clear();
            self.place(&mut item, parent, request)?;
        }
        // A document is copied in the background: a time that is set at once is lost.
        let metadata = if source.is_document() { metadata.without("modifiedTime") } else { metadata };
        let now = world.now();
        let time = if source.is_document() { now } else { source.modified };
        metadata.apply(&mut item, time)?;
        item.revisions.clear();
        if let Some(content) = source.content() {
            item.write(content.clone(), truth(request, "keepRevisionForever"), world);
        }
        let id = item.id.clone();
        self.store.put(item, now);
        self.show(&id, request)
    }

    fn empty_trash(&mut self, request: &Request, world: &World) -> Answer {
        let drive = request.param("driveId");
        let gone = self
            .store
            .items
            .values()
            .filter(|item| item.trashed && item.drive == drive && (drive.is_some() || item.owner == ME));
        for id in gone.map(|item| item.id.clone()).collect::<Vec<_>>() {
            self.store.remove(&id, world.now());
        }
        Ok(Response::empty(204))
    }

    fn generate_ids(&self, request: &Request, world: &mut World) -> Answer {
        let count = request.param("count").and_then(|count| count.parse().ok()).unwrap_or(10_usize).min(1000);
        let ids: Vec<_> = (0..count).map(|_| self.store.fresh_id(world)).collect();
        Ok(Response::json(200, &json!({ "kind": "drive#generatedIds", "space": "drive", "ids": ids })))
    }

    /// Whether so many bytes more fit into the account.
    pub(super) fn room(&self, bytes: usize) -> Result<(), Failure> {
        let full = self.tricks.limit_bytes.is_some_and(|limit| self.store.usage().0 + bytes as u64 > limit);
        let message = "The user's Drive storage quota has been exceeded.".into();
        if full { Err(Failure { message, ..Failure::denied("storageQuotaExceeded") }) } else { Ok(()) }
    }

    /// `drives`: the shared ones.
    pub(super) fn drives(&mut self, rest: &[&str], request: &Request, world: &mut World) -> Answer {
        use super::{fields, json as show, select};
        match (request.method.as_str(), rest) {
            ("GET", []) => {
                let page = super::listing::page_size(request, world)?.min(100);
                let after = request.param("pageToken").unwrap_or_default();
                let found: Vec<_> =
                    self.store.drives.values().filter(|drive| drive.id > after).take(page + 1).collect();
                let shown = found.get(..page).unwrap_or(&found);
                let drives: Vec<Value> = shown.iter().map(|drive| show::drive(drive)).collect();
                let mut answer = json!({ "kind": "drive#driveList", "drives": drives });
                if let (true, Some(last), Some(object)) = (found.len() > page, shown.last(), answer.as_object_mut()) {
                    object.insert("nextPageToken".into(), json!(last.id));
                }
                select(request, &fields::DRIVES, "*", answer)
            }
            ("GET", [id]) => {
                let drive = self.store.drives.get(*id);
                let drive = drive.ok_or_else(|| Failure {
                    message: format!("Shared drive not found: {id}"),
                    ..Failure::not_found(id)
                })?;
                select(request, &fields::DRIVE, "kind,id,name", show::drive(drive))
            }
            ("POST", []) if request.param("requestId").is_none() => {
                Err(Failure::invalid("required", "Required parameter: requestId"))
            }
            ("POST", []) => {
                let metadata = Metadata::read(&request.body)?;
                let id = self.add_shared_drive(metadata.text("name").unwrap_or("Untitled"), world);
                let drive = self.store.drives.get(&id).ok_or_else(|| Failure::not_found(&id))?;
                select(request, &fields::DRIVE, "kind,id,name", show::drive(drive))
            }
            _ => Err(Failure::not_found(&request.path)),
        }
    }

    /// A shared drive with its root.
    pub(super) fn add_shared_drive(&mut self, name: &str, world: &mut World) -> String {
        let (id, now) = (format!("0A{}", world.word(17)), world.now());
        let drive = super::model::SharedDrive { id: id.clone(), name: name.to_owned(), created: now };
        self.store.drives.insert(id.clone(), drive);
        let root = Item {
            id: id.clone(),
            name: name.to_owned(),
            mime_type: FOLDER.into(),
            drive: Some(id.clone()),
            created: now,
            modified: now,
            ..Item::default()
        };
        self.store.put(root, now);
        id
    }
}
