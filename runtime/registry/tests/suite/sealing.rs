//! Secrets at rest.

use causeway_registry::{Error, Registry, Space};

use crate::engines::{Home, make_backend, on_both, psql};

fn contains(heap: &[u8], needle: &[u8]) -> bool {
    heap.windows(needle.len()).any(|window| window == needle)
}

fn write_key(home: &Home, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(home.key_file(), text).unwrap();
    std::fs::set_permissions(home.key_file(), std::fs::Permissions::from_mode(0o600)).unwrap();
}

on_both! {
    async fn no_secret_stands_in_the_database(home) {
        let (registry, a, _) = home.two_tenants().await;
        let (_, token) = registry.operator().create_token(&a, "a label to be found").await.unwrap();
        let backend = make_backend(&registry, &a).await;
        registry.hold(&a, &backend.id, Space::State, "k", b"a kept value", None).await.unwrap();
        registry.hold(&a, &backend.id, Space::Slot, "s", b"a slot's value", None).await.unwrap();
        registry.close().await;
        let heap = home.raw_bytes();
        assert!(contains(&heap, b"a label to be found"), "the search itself works");
        for secret in [&b"hunter2-very-secret"[..], b"a kept value", b"a slot's value", token.expose().as_bytes()] {
            assert!(!contains(&heap, secret), "{:?}", String::from_utf8_lossy(secret));
        }
    }

    async fn a_wrong_key_is_told_at_the_start(home) {
        home.open().await.close().await;
        let text = std::fs::read_to_string(home.key_file()).unwrap();
        write_key(&home, &"ab".repeat(32));
        let error = Registry::open(&home.config()).await.unwrap_err();
        assert!(matches!(&error, Error::Key(text) if text.contains("is not the one")), "{error}");
        std::fs::remove_file(home.key_file()).unwrap();
        let error = Registry::open(&home.config()).await.unwrap_err();
        assert!(matches!(&error, Error::Key(text) if text.contains("missing")), "{error}");
        assert!(!home.key_file().exists(), "no new key is made for values sealed with another");
        write_key(&home, &text);
        home.open().await;
    }

    async fn two_first_starts_agree_on_one_key(home) {
        let (first, second) = (home.config(), home.config());
        let (first, second) = tokio::join!(Registry::open(&first), Registry::open(&second));
        let (first, second) = (first.unwrap(), second.unwrap());
        let a = first.operator().create_tenant("a").await.unwrap();
        let backend = make_backend(&first, &a).await;
        assert_eq!(second.backend(&a, &backend.id).await.unwrap(), Some(backend));
    }
}

#[tokio::test]
async fn a_secret_moved_to_another_tenants_row_does_not_open() {
    let home = Home::postgres();
    let (registry, a, b) = home.two_tenants().await;
    let (mine, theirs) = (make_backend(&registry, &a).await, make_backend(&registry, &b).await);
    psql(
        &home,
        &format!(
            "UPDATE backend_secrets SET sealed = (SELECT sealed FROM backend_secrets WHERE backend = '{}') WHERE backend = '{}'",
            theirs.id, mine.id
        ),
    );
    assert!(matches!(registry.backend(&a, &mine.id).await, Err(Error::Damaged(_))));
    assert_eq!(registry.backend(&b, &theirs.id).await.unwrap(), Some(theirs));
}
