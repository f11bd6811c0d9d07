//! From the contract's functions to an author's traits, one generic type per trait; `#[export]` names them. Nothing is decided here.

use std::marker::PhantomData;

use crate::bindings::causeway::provider::requests::{Piece, Response};
use crate::bindings::causeway::provider::{content, gathering};
pub use crate::bindings::exports::causeway::provider::{
    browsing, changes, cleaning, copying, decoding, directories, jobs, links, moving, purging, reading, removing, room,
    session, setup, times, versions, walking, writing,
};
use crate::nouns::{self, Entry, ErrorKind, Instant, Job, Kind, Node, Outcome, Page, Placed, Problem, Receipt, Span};
use crate::options::Options as _;
use crate::plan::{PartPlan, Source};
use crate::provider as author;
use crate::request::Answer;
use crate::{Error, Result, data, host};

/// The provider as configured; settings that cannot be used make every call but `configure` invalid.
fn open<T: author::Provider>() -> Result<T> {
    configured::<T>().map_err(|problems| {
        let told: Vec<_> =
            problems.iter().map(|problem| format!("{} {}", problem.option_name, problem.message)).collect();
        Error::new(ErrorKind::Invalid, told.join("; "))
    })
}

fn configured<T: author::Provider>() -> std::result::Result<T, Vec<Problem>> {
    T::open(T::Options::read(&host::given()))
}

macro_rules! exported {
    ($($name:ident),*) => {
        $(
            #[doc = concat!("Exports what an implementation of `", stringify!($name), "` offers.")]
            #[derive(Debug)]
            pub struct $name<T>(PhantomData<T>);
        )*
    };
}

exported!(
    Provider,
    Paths,
    Browsing,
    Walking,
    Decoding,
    Writing,
    Removing,
    Directories,
    Purging,
    Moving,
    Copying,
    Times,
    Jobs,
    Room,
    Links,
    Cleaning,
    Versions,
    Changes,
    Session
);

impl<T: author::Provider> setup::Guest for Provider<T> {
    fn describe() -> setup::Descriptor {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        setup::Descriptor {
            name: T::ABOUT.name.to_owned(),
            backend_type: T::ABOUT.backend_type.map(str::to_owned),
            aliases: owned(T::ABOUT.aliases),
            title: T::ABOUT.title.to_owned(),
            documentation: T::ABOUT.documentation.to_owned(),
            version: T::ABOUT.version.to_owned(),
            options: T::Options::specs(),
            slots: T::slots(),
            origins: owned(T::ABOUT.origins),
            machine_credentials: T::ABOUT.machine_credentials.map(str::to_owned),
            wasi_secret: None,
        }
    }

    fn configure() -> std::result::Result<nouns::Traits, Vec<Problem>> {
        configured::<T>().map(|provider| provider.traits())
    }

    fn probe() -> Result<nouns::Identity> {
        open::<T>()?.probe()
    }
}

impl<T: author::Provider> reading::Guest for Provider<T> {
    fn plan_read(file: Node, size: Option<u64>, range: Option<Span>) -> Result<reading::ReadPlan> {
        open::<T>()?.read(&file, size, range).map(crate::plan::Plan::into_wire)
    }

    fn explain(file: Node, response: Response) -> reading::Verdict {
        match open::<T>() {
            Ok(provider) => provider.explain(&file, &Answer(response)),
            Err(error) => reading::Verdict::Failed(error),
        }
    }
}

impl<T: author::Paths> browsing::Guest for Paths<T> {
    fn look_up(parent: Node, name: String) -> Result<Vec<Entry>> {
        Ok(open::<T>()?.stat(&parent.child(&name), None)?.into_iter().collect())
    }

    fn refresh(node: Node) -> Result<Option<Placed>> {
        let Some(parent) = node.parent() else {
            return Ok(Some(Placed { entry: Entry::directory(""), parent: None, path: None }));
        };
        let entry = open::<T>()?.stat(&node.path, Some(node.kind))?;
        Ok(entry.map(|entry| Placed { entry, parent: None, path: Some(parent.to_owned()) }))
    }

    fn list_directory(directory: Node, cursor: Option<String>) -> Result<Page> {
        refuse_file(&directory)?;
        open::<T>()?.list(&directory, cursor.as_deref())
    }
}

impl<T: author::Browsing> browsing::Guest for Browsing<T> {
    fn look_up(parent: Node, name: String) -> Result<Vec<Entry>> {
        open::<T>()?.look_up(&parent, &name)
    }

    fn refresh(node: Node) -> Result<Option<Placed>> {
        open::<T>()?.refresh(&node)
    }

    fn list_directory(directory: Node, cursor: Option<String>) -> Result<Page> {
        refuse_file(&directory)?;
        open::<T>()?.list(&directory, cursor.as_deref())
    }
}

impl<T: author::Walking> walking::Guest for Walking<T> {
    fn walk(directory: Node, into: &gathering::Sink) -> Result<Option<String>> {
        let mut push = |found: Vec<Placed>| into.push(&found);
        let mut sink = author::Sink::new(&mut push);
        let cursor = open::<T>()?.walk(&directory, &mut sink)?;
        sink.flush()?;
        Ok(cursor)
    }
}

impl<T: author::Decoding> decoding::Guest for Decoding<T> {
    fn decode(ticket: String, offset: u64, received: Vec<u8>) -> Result<Vec<u8>> {
        open::<T>()?.decode(&ticket, offset, &received)
    }
}

fn refuse_file(directory: &Node) -> Result<()> {
    match directory.kind {
        Kind::Directory => Ok(()),
        Kind::File => Err(Error::new(ErrorKind::NotADirectory, "this is a file, not a directory")),
    }
}

impl<T: author::Writing> writing::Guest for Writing<T> {
    fn begin_write(intent: writing::WriteIntent, content: &content::Source) -> Result<writing::WritePlan> {
        open::<T>()?.begin(&intent, Source::of(content))?.into_wire()
    }

    fn plan_part(session: String, part: writing::Part, content: &content::Source) -> Result<writing::PartPlan> {
        open::<T>()?.plan_part(&data::unpack(&session)?, &part, Source::of(content)).map(PartPlan::into_wire)
    }

    fn accept_part(session: String, part: writing::Part, response: Response) -> Result<writing::PartAnswer> {
        open::<T>()?.accept_part(&data::unpack(&session)?, &part, &Answer(response))
    }

    fn finish_write(session: String, receipts: Vec<Receipt>, content: &content::Source) -> Result<Outcome> {
        open::<T>()?.finish(&data::unpack(&session)?, &receipts, Source::of(content))
    }

    fn abort_write(session: String) -> Result<()> {
        open::<T>()?.abort(&data::unpack(&session)?)
    }

    fn resume_write(session: String, receipts: Vec<Receipt>) -> Result<writing::Remains> {
        open::<T>()?.resume(&data::unpack(&session)?, &receipts)
    }
}

impl<T: author::Removing> removing::Guest for Removing<T> {
    fn remove_file(file: Node) -> Result<Outcome> {
        match file.kind {
            Kind::File => open::<T>()?.remove_file(&file),
            Kind::Directory => Err(Error::new(ErrorKind::IsDirectory, "this is a directory, not a file")),
        }
    }
}

impl<T: author::Directories> directories::Guest for Directories<T> {
    fn make_directory(parent: Node, name: String) -> Result<Outcome> {
        open::<T>()?.make_directory(&parent, &name)
    }

    fn remove_directory(directory: Node) -> Result<Outcome> {
        refuse_file(&directory)?;
        open::<T>()?.remove_directory(&directory)
    }
}

impl<T: author::Purging> purging::Guest for Purging<T> {
    fn purge(directory: Node) -> Result<Outcome> {
        refuse_file(&directory)?;
        open::<T>()?.purge(&directory)
    }
}

impl<T: author::Moving> moving::Guest for Moving<T> {
    fn move_to(node: Node, parent: Node, name: String, replaces: Option<Node>) -> Result<Outcome> {
        open::<T>()?.move_to(&node, &parent, &name, replaces.as_ref())
    }
}

impl<T: author::Copying> copying::Guest for Copying<T> {
    fn copy_to(
        node: Node,
        parent: Node,
        name: String,
        replaces: Option<Node>,
        modified: Option<Instant>,
    ) -> Result<Outcome> {
        open::<T>()?.copy_to(&node, &parent, &name, replaces.as_ref(), modified)
    }
}

impl<T: author::Times> times::Guest for Times<T> {
    fn set_modified(node: Node, modified: Instant) -> Result<Outcome> {
        open::<T>()?.set_modified(&node, modified)
    }
}

impl<T: author::Jobs> jobs::Guest for Jobs<T> {
    fn poll(ticket: String) -> Result<Outcome> {
        open::<T>()?.poll(&data::unpack(&ticket)?)
    }

    fn cancel(ticket: String) -> Result<()> {
        open::<T>()?.cancel(&data::unpack(&ticket)?)
    }
}

impl Job {
    /// Work to be gone on with after so many milliseconds.
    pub fn new(ticket: &impl serde::Serialize, after_ms: u32) -> Result<Job> {
        Ok(Job { ticket: data::pack(ticket)?, after_ms })
    }
}

impl<T: author::Room> room::Guest for Room<T> {
    fn measure() -> Result<nouns::Usage> {
        open::<T>()?.measure()
    }
}

impl<T: author::Links> links::Guest for Links<T> {
    fn link(node: Node, lives_ms: Option<u64>) -> Result<Vec<Piece>> {
        Ok(open::<T>()?.link(&node, lives_ms)?.0)
    }

    fn unlink(node: Node) -> Result<()> {
        open::<T>()?.unlink(&node)
    }
}

impl<T: author::Cleaning> cleaning::Guest for Cleaning<T> {
    fn clean(directory: Node) -> Result<Outcome> {
        open::<T>()?.clean(&directory)
    }
}

impl<T: author::Versions> versions::Guest for Versions<T> {
    fn versions_of(file: Node, cursor: Option<String>) -> Result<Page> {
        open::<T>()?.versions_of(&file, cursor.as_deref())
    }
}

impl<T: author::Changes> changes::Guest for Changes<T> {
    fn changes_since(cursor: Option<String>) -> Result<changes::News> {
        let (changes, next, wait) = open::<T>()?.changes_since(cursor.as_deref())?;
        let wait = wait.map(crate::request::Request::into_wire);
        Ok(changes::News { changes, cursor: next.cursor, more: next.more, wait })
    }
}

impl<T: author::Session> session::Guest for Session<T> {
    fn sign_in(answer: Option<String>) -> Result<nouns::Step> {
        open::<T>()?.sign_in(answer.as_deref())
    }

    fn sign_out() -> Result<()> {
        open::<T>()?.sign_out()
    }
}
