//! A tenant with another's ids: nothing is seen, changed or counted.

use causeway_registry::{AnotherAccount, Error, Mount, MountId, MountsWanted, NewCredentials, Space};
use causeway_storage::Timestamp;

use crate::engines::{Home, make_backend, new_backend, on_both, psql};

on_both! {
    async fn backends_of_another_tenant_are_absent(home) {
        let (registry, a, b) = home.two_tenants().await;
        let backend = registry.create_backend(&b, &new_backend(Some("s3"))).await.unwrap();
        let new = NewCredentials { settings: Default::default(), account: None, another_account: Some(Default::default()), based_on: 1 };
        assert_eq!(registry.backend(&a, &backend.id).await.unwrap(), None);
        assert_eq!(registry.backend_by_name(&a, backend.name.as_ref().unwrap()).await.unwrap(), None);
        assert_eq!(registry.backends(&a).await.unwrap(), []);
        assert!(!registry.change_credentials(&a, &backend.id, &new).await.unwrap());
        let mine = make_backend(&registry, &a).await;
        let wrappers = vec![backend.id.clone()];
        let another = AnotherAccount { wrappers, failed_mounts: Vec::new() };
        assert!(registry.change_credentials(&a, &mine.id, &NewCredentials { another_account: Some(another), ..new }).await.unwrap());
        assert!(registry.delete_backend(&a, &mine.id).await.unwrap());
        assert!(!registry.note_use(&a, &backend.id, false).await.unwrap());
        assert!(!registry.delete_backend(&a, &backend.id).await.unwrap());
        assert_eq!(registry.backend(&b, &backend.id).await.unwrap(), Some(backend));
    }

    async fn mounts_of_another_tenant_are_absent(home) {
        let (registry, a, b) = home.two_tenants().await;
        let backend = make_backend(&registry, &b).await;
        let mut mount = Mount { id: MountId::random().unwrap(), backend: backend.id.clone(), label: Some("l".into()), path: "/m/1".into(),
            config: Default::default(), removing: false, created_at: Timestamp { seconds: 0, nanoseconds: 0 } };
        assert!(matches!(registry.create_mount(&a, &mount).await, Err(Error::Missing)), "another's backend cannot be mounted");
        mount = registry.create_mount(&b, &mount).await.unwrap();
        assert_eq!(registry.mount(&a, &mount.id).await.unwrap(), None);
        for wanted in [MountsWanted::All, MountsWanted::Label("l"), MountsWanted::Backend(&backend.id)] {
            assert_eq!(registry.mounts(&a, wanted).await.unwrap(), []);
        }
        assert!(!registry.configure_mount(&a, &mount.id, &serde_json::json!({"x": 1}).as_object().unwrap().clone()).await.unwrap());
        assert!(!registry.begin_removing_mount(&a, &mount.id).await.unwrap());
        assert!(!registry.delete_mount(&a, &mount.id).await.unwrap());
        assert_eq!(registry.mount(&b, &mount.id).await.unwrap(), Some(mount));
    }

    async fn state_of_another_tenant_is_absent(home) {
        let (registry, a, b) = home.two_tenants().await;
        let id = make_backend(&registry, &b).await.id;
        registry.hold(&b, &id, Space::State, "k", b"v", None).await.unwrap();
        assert_eq!(registry.held(&a, &id, Space::State, "k").await.unwrap(), None);
        assert!(matches!(registry.hold(&a, &id, Space::State, "k", b"w", None).await, Err(Error::Missing)));
        assert!(matches!(registry.swap(&a, &id, Space::State, "k", b"w", None, Some(1)).await, Err(Error::Missing)));
        assert!(matches!(registry.expire(&a, &id, Space::State, "k", 0).await, Err(Error::Missing)));
        assert!(!registry.drop_held(&a, &id, Space::State, "k").await.unwrap());
        assert_eq!(registry.held(&b, &id, Space::State, "k").await.unwrap().unwrap().value.as_slice(), b"v");
    }

    async fn leases_and_consents_of_another_tenant_are_absent(home) {
        let (registry, a, b) = home.two_tenants().await;
        let id = make_backend(&registry, &b).await.id;
        let begun = registry.begin_consent(&b, &id, "issuer").await.unwrap();
        let fence = registry.take_lease(&b, &id, "sign-in", 60_000).await.unwrap().unwrap();
        assert!(matches!(registry.begin_consent(&a, &id, "issuer").await, Err(Error::Missing)));
        assert!(registry.take_consent(&a, &id, &begun.state).await.unwrap().is_none());
        assert!(matches!(registry.take_lease(&a, &id, "sign-in", 60_000).await, Err(Error::Missing)));
        assert!(!registry.end_lease(&a, &id, "sign-in", fence).await.unwrap());
        assert_eq!(registry.take_lease(&b, &id, "sign-in", 60_000).await.unwrap(), None, "it is still held");
        assert!(registry.take_consent(&b, &id, &begun.state).await.unwrap().is_some());
    }

    async fn tokens_of_another_tenant_are_absent(home) {
        let (registry, a, b) = home.two_tenants().await;
        let (id, token) = registry.operator().create_token(&b, "").await.unwrap();
        assert_eq!(registry.operator().tokens(&a).await.unwrap(), []);
        assert!(!registry.operator().revoke_token(&a, &id).await.unwrap());
        assert_eq!(registry.authenticate(&token).await.unwrap(), Some(b));
    }
}

/// The database itself holds to it: what a statement that forgot its tenant would see.
#[tokio::test]
async fn postgres_shows_nothing_to_a_transaction_without_a_tenant() {
    let home = Home::postgres();
    let (registry, a, _) = home.two_tenants().await;
    registry.operator().create_token(&a, "").await.unwrap();
    let backend = make_backend(&registry, &a).await;
    registry.hold(&a, &backend.id, Space::State, "k", b"v", None).await.unwrap();
    registry.take_lease(&a, &backend.id, "sign-in", 60_000).await.unwrap();
    registry.begin_consent(&a, &backend.id, "issuer").await.unwrap();
    for table in ["tenants", "tokens", "backends", "backend_secrets", "backend_state", "leases", "consents"] {
        let rows = |tenant: &str| {
            psql(
                &home,
                &format!("SET ROLE causeway_tenant; SET causeway.tenant = '{tenant}'; SELECT count(*) FROM {table}"),
            )
        };
        assert_eq!(rows("").trim(), "0", "{table}");
        assert_eq!(rows("b").trim(), if table == "tenants" { "1" } else { "0" }, "{table}");
        assert_eq!(rows("a").trim(), "1", "{table}");
    }
    let owned = psql(
        &home,
        "SELECT count(*) FROM pg_class JOIN pg_roles ON relowner = pg_roles.oid WHERE rolname = 'causeway_tenant'",
    );
    assert_eq!(owned.trim(), "0");
    let unforced = psql(
        &home,
        "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace \
        AND NOT relforcerowsecurity AND relname NOT IN ('key_check', '_sqlx_migrations')",
    );
    assert_eq!(unforced.trim(), "0");
}
