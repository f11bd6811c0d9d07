//! Tenants, tokens, backends and mounts are kept as they were given.

use causeway_registry::{AnotherAccount, BackendName, Error, Mount, MountId, MountsWanted, NewCredentials, Token};
use causeway_storage::{Secret, Timestamp, Value};

use crate::engines::{make_backend, new_backend, on_both};

fn mount(backend: &causeway_registry::Backend, label: Option<&str>, path: &str) -> Mount {
    Mount {
        id: MountId::random().unwrap(),
        backend: backend.id.clone(),
        label: label.map(str::to_owned),
        path: path.into(),
        config: serde_json::json!({"cache_mode": "full"}).as_object().unwrap().clone(),
        removing: false,
        created_at: Timestamp { seconds: 0, nanoseconds: 0 },
    }
}

on_both! {
    async fn a_token_opens_its_tenant_until_it_is_revoked(home) {
        let (registry, a, _) = home.two_tenants().await;
        let (id, token) = registry.operator().create_token(&a, "laptop").await.unwrap();
        assert_eq!(registry.authenticate(&token).await.unwrap(), Some(a.clone()));
        assert_eq!(registry.authenticate(&Token::shown("causeway_nothing")).await.unwrap(), None);
        assert!(registry.operator().revoke_token(&a, &id).await.unwrap());
        assert!(!registry.operator().revoke_token(&a, &id).await.unwrap());
        assert_eq!(registry.authenticate(&token).await.unwrap(), None);
        let rows = registry.operator().tokens(&a).await.unwrap();
        assert_eq!((rows.len(), rows[0].label.as_str(), rows[0].revoked_at.is_some()), (1, "laptop", true));
    }

    async fn a_revoked_tenant_is_shut_out(home) {
        let (registry, a, b) = home.two_tenants().await;
        let (_, token) = registry.operator().create_token(&a, "").await.unwrap();
        let (_, other) = registry.operator().create_token(&b, "").await.unwrap();
        assert!(registry.operator().revoke_tenant(&a).await.unwrap());
        assert_eq!(registry.authenticate(&token).await.unwrap(), None);
        assert_eq!(registry.authenticate(&other).await.unwrap(), Some(b));
        assert!(matches!(registry.operator().create_tenant("a").await, Err(Error::Taken)));
    }

    async fn a_chosen_token_is_admitted_once_and_for_one_tenant(home) {
        let (registry, a, b) = home.two_tenants().await;
        let token = Token::chosen("a-token-for-the-start").unwrap();
        for _ in 0..2 {
            registry.operator().admit_token(&a, &token, "bootstrap").await.unwrap();
        }
        assert_eq!(registry.operator().tokens(&a).await.unwrap().len(), 1);
        assert!(matches!(registry.operator().admit_token(&b, &token, "bootstrap").await, Err(Error::Taken)));
        assert_eq!(registry.authenticate(&token).await.unwrap(), Some(a));
    }

    async fn a_backend_comes_back_as_it_was_given(home) {
        let (registry, a, _) = home.two_tenants().await;
        let new = new_backend(Some("my s3"));
        let made = registry.create_backend(&a, &new).await.unwrap();
        registry.close().await;
        let registry = home.open().await;
        let found = registry.backend(&a, &new.id).await.unwrap().unwrap();
        assert_eq!(found, made);
        assert_eq!(found.settings, new.settings);
        assert_eq!(registry.backend_by_name(&a, &BackendName::parse("my s3").unwrap()).await.unwrap(), Some(found.clone()));
        assert_eq!(registry.backends(&a).await.unwrap(), [found]);
    }

    async fn each_of_a_list_has_its_own_secrets(home) {
        let (registry, a, b) = home.two_tenants().await;
        let mut made = Vec::new();
        for (tenant, secret) in [(&a, "one"), (&a, "two"), (&b, "of another tenant")] {
            let mut new = new_backend(None);
            new.settings.set("secret_access_key", Value::Secret(Secret::new(secret)));
            made.push(registry.create_backend(tenant, &new).await.unwrap());
        }
        let mut listed = registry.backends(&a).await.unwrap();
        listed.sort_by_key(|backend| made.iter().position(|one| one.id == backend.id));
        assert_eq!(listed, made[..2]);
        assert_eq!(registry.backends(&b).await.unwrap(), made[2..]);
    }

    async fn a_name_is_taken_once_per_tenant(home) {
        let (registry, a, b) = home.two_tenants().await;
        registry.create_backend(&a, &new_backend(Some("s3"))).await.unwrap();
        assert!(matches!(registry.create_backend(&a, &new_backend(Some("s3"))).await, Err(Error::Taken)));
        registry.create_backend(&b, &new_backend(Some("s3"))).await.unwrap();
        make_backend(&registry, &a).await;
        make_backend(&registry, &a).await;
    }

    async fn a_changed_credential_counts_once(home) {
        let (registry, a, _) = home.two_tenants().await;
        let backend = make_backend(&registry, &a).await;
        let mut settings = backend.settings.clone();
        settings.set("secret_access_key", Value::Secret(Secret::new("another")));
        settings.remove("chunk_size");
        let new = NewCredentials { settings: settings.clone(), account: Some("acct".into()), another_account: Some(AnotherAccount::default()), based_on: 1 };
        assert!(registry.change_credentials(&a, &backend.id, &new).await.unwrap());
        assert!(!registry.change_credentials(&a, &backend.id, &new).await.unwrap(), "it was based on an older one");
        let found = registry.backend(&a, &backend.id).await.unwrap().unwrap();
        assert_eq!((found.settings, found.account.as_deref()), (settings, Some("acct")));
        assert_eq!((found.generation, found.credential_generation), (2, 2));
    }

    async fn another_account_is_not_taken_while_anything_over_it_is_mounted(home) {
        let (registry, a, _) = home.two_tenants().await;
        let (base, wrapper) = (make_backend(&registry, &a).await, make_backend(&registry, &a).await);
        let mut another = AnotherAccount { wrappers: vec![wrapper.id.clone()], failed_mounts: Vec::new() };
        let mut new = NewCredentials { settings: base.settings.clone(), account: None, another_account: Some(another.clone()), based_on: 1 };
        for over in [&base, &wrapper] {
            let made = registry.create_mount(&a, &mount(over, None, "/m/1")).await.unwrap();
            assert!(matches!(registry.change_credentials(&a, &base.id, &new).await, Err(Error::InUse)));
            assert_eq!(registry.backend(&a, &base.id).await.unwrap(), Some(base.clone()), "nothing changed");
            assert_eq!(registry.backend(&a, &wrapper.id).await.unwrap(), Some(wrapper.clone()), "nothing changed");
            assert!(registry.delete_mount(&a, &made.id).await.unwrap());
        }
        let failed = registry.create_mount(&a, &mount(&wrapper, None, "/m/2")).await.unwrap();
        another.failed_mounts.push(failed.id);
        new.another_account = Some(another);
        assert!(registry.change_credentials(&a, &base.id, &new).await.unwrap());
        for backend in [&base, &wrapper] {
            assert_eq!(registry.backend(&a, &backend.id).await.unwrap().unwrap().generation, 2);
        }
    }

    async fn last_use_is_the_last_success(home) {
        let (registry, a, _) = home.two_tenants().await;
        let backend = make_backend(&registry, &a).await;
        assert_eq!(backend.last_used, None);
        assert!(registry.note_use(&a, &backend.id, false).await.unwrap());
        let found = registry.backend(&a, &backend.id).await.unwrap().unwrap();
        assert_eq!((found.connected, found.last_used), (false, None));
        assert!(registry.note_use(&a, &backend.id, true).await.unwrap());
        let found = registry.backend(&a, &backend.id).await.unwrap().unwrap();
        assert!(found.connected && found.last_used.is_some());
    }

    async fn a_backend_with_mounts_stays(home) {
        let (registry, a, _) = home.two_tenants().await;
        let backend = make_backend(&registry, &a).await;
        let made = registry.create_mount(&a, &mount(&backend, None, "/m/1")).await.unwrap();
        assert!(matches!(registry.delete_backend(&a, &backend.id).await, Err(Error::InUse)));
        assert!(registry.delete_mount(&a, &made.id).await.unwrap());
        assert!(registry.delete_backend(&a, &backend.id).await.unwrap());
        assert!(!registry.delete_backend(&a, &backend.id).await.unwrap());
    }

    async fn a_mount_comes_back_as_it_was_given(home) {
        let (registry, a, _) = home.two_tenants().await;
        let backend = make_backend(&registry, &a).await;
        let made = registry.create_mount(&a, &mount(&backend, Some("Photos"), "/m/1")).await.unwrap();
        registry.create_mount(&a, &mount(&backend, None, "/m/2")).await.unwrap();
        assert!(matches!(registry.create_mount(&a, &mount(&backend, None, "/m/1")).await, Err(Error::Taken)));
        assert_eq!(registry.mount(&a, &made.id).await.unwrap(), Some(made.clone()));
        assert_eq!(registry.mounts(&a, MountsWanted::Label("Photos")).await.unwrap(), std::slice::from_ref(&made));
        assert_eq!(registry.mounts(&a, MountsWanted::All).await.unwrap().len(), 2);
        assert_eq!(registry.mounts(&a, MountsWanted::Backend(&backend.id)).await.unwrap().len(), 2);
        assert!(registry.configure_mount(&a, &made.id, &serde_json::Map::new()).await.unwrap());
        assert!(registry.begin_removing_mount(&a, &made.id).await.unwrap());
        let found = registry.mount(&a, &made.id).await.unwrap().unwrap();
        assert!(found.removing && found.config.is_empty());
    }

    async fn a_mount_needs_its_backend(home) {
        let (registry, a, _) = home.two_tenants().await;
        let backend = make_backend(&registry, &a).await;
        registry.delete_backend(&a, &backend.id).await.unwrap();
        assert!(matches!(registry.create_mount(&a, &mount(&backend, None, "/m/1")).await, Err(Error::Missing)));
    }
}
