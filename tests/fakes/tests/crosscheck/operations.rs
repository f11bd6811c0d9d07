//! What every row does. Each operation works in a folder of its own and judges what it sees through the client.

use causeway_fakes::Running;
use serde_json::Value;

use crate::client::Client;

/// Where an operation takes place.
pub(crate) struct Scene<'a> {
    pub(crate) client: &'a Client,
    pub(crate) front: &'a Running,
    pub(crate) root: &'static str,
}

type Operation = fn(&Scene) -> Result<(), String>;

/// All operations in their order, by the names in the table.
pub(crate) const OPERATIONS: &[(&str, Operation)] = &[
    ("upload", upload),
    ("download", download),
    ("range", range),
    ("names", names),
    ("large", large),
    ("overwrite", overwrite),
    ("rename", rename),
    ("copy", copy),
    ("movedir", movedir),
    ("mkdir", mkdir),
    ("pages", pages),
    ("time", time),
    ("link", link),
    ("about", about),
    ("delete", delete),
    ("purge", purge),
];

impl Scene<'_> {
    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }

    /// Uploads content to a path below the root.
    fn put(&self, path: &str, content: &[u8]) -> Result<(), String> {
        let file = self.client.file(&format!("put/{path}"), content);
        self.client.run(&["copyto", &file.to_string_lossy(), &self.at(path)]).map(|_| ())
    }

    fn content(&self, path: &str) -> Result<String, String> {
        self.client.run(&["cat", &self.at(path)])
    }

    /// Paths of all files below a folder, sorted.
    fn files(&self, path: &str) -> Result<Vec<String>, String> {
        let listed = self.client.run(&["lsjson", "-R", "--files-only", &self.at(path)])?;
        let listed: Vec<Value> = serde_json::from_str(&listed).map_err(|error| error.to_string())?;
        let mut names: Vec<String> =
            listed.iter().filter_map(|entry| entry["Path"].as_str().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }
}

fn same<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("found {found:?}, wanted {wanted:?}")) }
}

fn upload(scene: &Scene) -> Result<(), String> {
    scene.put("upload/a.txt", b"hello")?;
    scene.put("upload/deep/er/b.txt", b"world")?;
    same(scene.files("upload")?, vec!["a.txt".into(), "deep/er/b.txt".into()])
}

fn download(scene: &Scene) -> Result<(), String> {
    scene.put("download/a.txt", b"the content")?;
    scene.put("download/empty", b"")?;
    same(scene.content("download/a.txt")?, "the content".into())?;
    same(scene.content("download/empty")?, String::new())
}

fn range(scene: &Scene) -> Result<(), String> {
    scene.put("range/a.txt", b"0123456789")?;
    let part = scene.client.run(&["cat", "--offset", "3", "--count", "4", &scene.at("range/a.txt")])?;
    same(part, "3456".into())
}

fn names(scene: &Scene) -> Result<(), String> {
    let odd = ["a b+%41é.txt", "#1?.txt", "quote'd & <x>.txt", "semi;colon=,.txt"];
    for (number, name) in odd.iter().enumerate() {
        scene.put(&format!("names/{name}"), format!("content {number}").as_bytes())?;
    }
    let mut wanted: Vec<String> = odd.iter().map(|name| (*name).to_owned()).collect();
    wanted.sort();
    same(scene.files("names")?, wanted)?;
    same(scene.content("names/a b+%41é.txt")?, "content 0".into())
}

/// Larger than one part of any provider as the rows configure it.
fn large(scene: &Scene) -> Result<(), String> {
    let content: Vec<u8> = (0..20_000_003u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = scene.client.file("large/big.bin", &content);
    scene.client.run(&["copyto", &file.to_string_lossy(), &scene.at("large/big.bin")])?;
    let folder = scene.client.folder("large");
    scene.client.run(&["check", "--download", &folder.to_string_lossy(), &scene.at("large")]).map(|_| ())
}

fn overwrite(scene: &Scene) -> Result<(), String> {
    scene.put("overwrite/a.txt", b"first")?;
    scene.put("overwrite/a.txt", b"the second")?;
    same(scene.content("overwrite/a.txt")?, "the second".into())?;
    same(scene.files("overwrite")?, vec!["a.txt".into()])
}

fn rename(scene: &Scene) -> Result<(), String> {
    scene.put("rename/a.txt", b"moved")?;
    scene.client.run(&["moveto", &scene.at("rename/a.txt"), &scene.at("rename/into/b.txt")])?;
    same(scene.content("rename/into/b.txt")?, "moved".into())?;
    same(scene.files("rename")?, vec!["into/b.txt".into()])
}

fn copy(scene: &Scene) -> Result<(), String> {
    scene.put("copy/a.txt", b"copied")?;
    scene.client.run(&["copyto", &scene.at("copy/a.txt"), &scene.at("copy/to/b.txt")])?;
    same(scene.content("copy/to/b.txt")?, "copied".into())?;
    same(scene.files("copy")?, vec!["a.txt".into(), "to/b.txt".into()])
}

fn movedir(scene: &Scene) -> Result<(), String> {
    scene.put("movedir/from/a.txt", b"a")?;
    scene.put("movedir/from/deep/b.txt", b"b")?;
    scene.client.run(&["moveto", &scene.at("movedir/from"), &scene.at("movedir/target/to")])?;
    same(scene.files("movedir")?, vec!["target/to/a.txt".into(), "target/to/deep/b.txt".into()])
}

fn mkdir(scene: &Scene) -> Result<(), String> {
    scene.client.run(&["mkdir", &scene.at("mkdir/one/two")])?;
    same(scene.client.run(&["lsf", "--dirs-only", &scene.at("mkdir/one")])?, "two/\n".into())?;
    scene.client.run(&["rmdir", &scene.at("mkdir/one/two")])?;
    same(scene.client.run(&["lsf", &scene.at("mkdir/one")])?, String::new())
}

fn pages(scene: &Scene) -> Result<(), String> {
    let wanted: Vec<String> = (0..7).map(|number| format!("d{}/f{number}.txt", number % 3)).collect();
    for path in &wanted {
        scene.put(&format!("pages/{path}"), path.as_bytes())?;
    }
    let mut wanted = wanted;
    wanted.sort();
    scene.front.set_page_size(Some(2));
    let found = scene.files("pages");
    scene.front.set_page_size(None);
    same(found?, wanted)
}

fn time(scene: &Scene) -> Result<(), String> {
    let file = scene.client.file("time/a.txt", b"old");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(981_173_106);
    let open = std::fs::File::options().write(true).open(&file).map_err(|error| error.to_string())?;
    open.set_modified(old).map_err(|error| error.to_string())?;
    scene.client.run(&["copyto", &file.to_string_lossy(), &scene.at("time/a.txt")])?;
    let listed = scene.client.run(&["lsf", "--format", "t", "--time-format", "unix", &scene.at("time/a.txt")])?;
    same(listed.trim(), "981173106")?;
    scene.client.run(&["touch", "--timestamp", "2005-06-07T08:09:10", &scene.at("time/a.txt")])?;
    let listed = scene.client.run(&["lsf", "--format", "t", "--time-format", "unix", &scene.at("time/a.txt")])?;
    same(listed.trim(), "1118131750")?;
    same(scene.content("time/a.txt")?, "old".into())
}

fn link(scene: &Scene) -> Result<(), String> {
    scene.put("link/a.txt", b"shared")?;
    let link = scene.client.run(&["link", &scene.at("link/a.txt")])?;
    if link.starts_with("http") { Ok(()) } else { Err(format!("no link: {link}")) }
}

fn about(scene: &Scene) -> Result<(), String> {
    let told = scene.client.run(&["about", "--json", scene.root])?;
    let told: Value = serde_json::from_str(&told).map_err(|error| error.to_string())?;
    if told["used"].is_u64() { Ok(()) } else { Err(told.to_string()) }
}

fn delete(scene: &Scene) -> Result<(), String> {
    scene.put("delete/a.txt", b"gone soon")?;
    scene.put("delete/b.txt", b"stays")?;
    scene.client.run(&["deletefile", &scene.at("delete/a.txt")])?;
    same(scene.files("delete")?, vec!["b.txt".into()])
}

fn purge(scene: &Scene) -> Result<(), String> {
    scene.put("purge/inner/a.txt", b"a")?;
    scene.put("purge/inner/deep/b.txt", b"b")?;
    scene.put("purge/c.txt", b"c")?;
    scene.client.run(&["purge", &scene.at("purge/inner")])?;
    same(scene.files("purge")?, vec!["c.txt".into()])
}
