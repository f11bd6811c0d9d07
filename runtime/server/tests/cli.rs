//! What an operator relies on at the command line: which setting counts, that everything wrong is told at once and before
//! anything starts, that the key is guarded, and the commands for tenants and tokens. Mounts and providers are tested with
//! the whole program, not here.

// A test may stop at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

struct Place {
    top: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { top: tempfile::tempdir().unwrap() }
    }

    fn data_dir(&self) -> PathBuf {
        self.top.path().join("data")
    }

    /// The program with these arguments and variables, and no variable of whoever runs the test.
    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_causeway"))
            .args(arguments)
            .env_clear()
            .env("CAUSEWAY_DATA_DIR", self.data_dir())
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.run(arguments, variables);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(output.stdout.is_empty());
        told
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.top.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn a_flag_comes_before_a_variable_and_that_before_the_file() {
    let place = Place::new();
    let file = place.write("causeway.toml", "listen = \"of-the-file\"\ngrant = [\"of-the-file\"]", 0o644);
    let (listen, grant) = (("CAUSEWAY_LISTEN", "of-a-variable"), ("CAUSEWAY_GRANT", "of-a-variable"));
    let arguments = ["serve", "--config", &file];
    let told = place.fails(&arguments, &[]);
    assert!(told.contains("listen: `of-the-file`") && told.contains("grant: `of-the-file`"), "{told}");
    let told = place.fails(&arguments, &[listen, grant]);
    assert!(told.contains("listen: `of-a-variable`") && told.contains("grant: `of-a-variable`"), "{told}");
    assert!(!told.contains("of-the-file"), "{told}");
    let flags = ["serve", "--config", &file, "--listen", "of-a-flag", "--grant", "one", "--grant", "two"];
    let told = place.fails(&flags, &[listen, grant]);
    for wrong in ["listen: `of-a-flag`", "grant: `one`", "grant: `two`"] {
        assert!(told.contains(wrong), "{told}");
    }
    assert!(!told.contains("of-a-variable") && !told.contains("of-the-file"), "{told}");
}

#[test]
fn all_that_is_wrong_is_told_before_anything_is_made() {
    let place = Place::new();
    let file = place.write("causeway.toml", "log-format = \"xml\"\ncolour = \"red\"", 0o644);
    let arguments =
        ["serve", "--config", &file, "--listen", "nowhere", "--grant", "mega:everything", "--mount-root", "m"];
    let variables = [("CAUSEWAY_DATABASE_URL", "mysql://x"), ("CAUSEWAY_BOOTSTRAP_TOKEN", "short-secret")];
    let told = place.fails(&arguments, &variables);
    for wrong in
        ["log-format", "colour", "listen", "grant: `mega:everything`", "mount-root", "database-url", "BOOTSTRAP"]
    {
        assert!(told.contains(wrong), "{wrong}: {told}");
    }
    assert!(!told.contains("short-secret"), "{told}");
    assert!(!place.data_dir().exists());
}

#[test]
fn directories_that_let_tenants_reach_each_other_are_refused() {
    let place = Place::new();
    let local = place.top.path().join("local");
    std::fs::create_dir(&local).unwrap();
    let (local, mounts) = (local.to_str().unwrap(), format!("{}/a/mounts", local.display()));
    let told = place.fails(&["serve", "--local-root", local, "--mount-root", &mounts], &[]);
    assert!(told.contains("lie in each other"), "{told}");
    let above = place.top.path().to_str().unwrap();
    let told = place.fails(&["serve", "--local-root", above, "--mount-root", "/nowhere/mounts"], &[]);
    assert!(told.contains("holds the data directory") && told.contains("holds the key"), "{told}");
    assert!(!place.data_dir().exists());
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let place = Place::new();
    for mode in [0o644, 0o640] {
        let key = place.write("key", &"ab".repeat(32), mode);
        let told = place.fails(&["tenant", "list", "--key-file", &key], &[]);
        assert!(told.contains(&key), "{told}");
        assert!(!told.contains("abab"), "{told}");
    }
    let key = place.write("key", &"ab".repeat(32), 0o600);
    place.succeeds(&["tenant", "list", "--key-file", &key]);
}

#[test]
fn a_key_that_is_made_is_the_operators_alone_and_another_is_told() {
    let place = Place::new();
    place.succeeds(&["tenant", "create", "acme"]);
    let mode = |name: &str| std::fs::metadata(place.data_dir().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("key"), mode("registry.db")), (0o700, 0o600, 0o600));
    let other = place.write("other", &"cd".repeat(32), 0o600);
    let told = place.fails(&["tenant", "list", "--key-file", &other], &[]);
    assert!(told.contains("is not the one that this registry was sealed with"), "{told}");
    let told =
        place.fails(&["serve", "--key-file", &other, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"], &[]);
    assert!(told.contains("is not the one that this registry was sealed with"), "{told}");
    assert_eq!(place.succeeds(&["tenant", "list"]), "acme\tactive\n");
}

#[test]
fn tenants_and_tokens_are_made_listed_and_revoked() {
    let place = Place::new();
    assert_eq!(place.succeeds(&["tenant", "create", "acme"]), "acme\n");
    let token = place.succeeds(&["token", "create", "acme", "--label", "laptop"]);
    assert!(token.trim().len() >= 32, "{token}");
    let listed = place.succeeds(&["token", "list", "acme"]);
    assert!(listed.ends_with("\tactive\tlaptop\n") && !listed.contains(token.trim()), "{listed}");
    let id = listed.split('\t').next().unwrap();
    place.succeeds(&["token", "revoke", "acme", id]);
    assert!(place.succeeds(&["token", "list", "acme"]).contains("\trevoked\t"));
    assert!(place.fails(&["token", "revoke", "acme", id], &[]).contains("has no token"));
    place.succeeds(&["tenant", "revoke", "acme"]);
    assert_eq!(place.succeeds(&["tenant", "list"]), "acme\trevoked\n");
    assert!(place.fails(&["token", "create", "nobody"], &[]).contains("there is no tenant nobody"));
}

#[test]
fn what_is_no_component_is_told_so() {
    let place = Place::new();
    let file = place.write("provider.wasm", "not at all", 0o644);
    assert!(place.fails(&["provider", "inspect", &file], &[]).contains("not a WebAssembly component"));
    assert!(place.fails(&["provider", "inspect", "/nowhere.wasm"], &[]).contains("/nowhere.wasm"));
}
