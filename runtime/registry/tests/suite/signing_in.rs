//! Leases and consents: one at a time, once, and not for ever.

use causeway_registry::{CONSENT_MS, Registry, Tenant};

use crate::engines::{Home, make_backend, on_both, psql};

on_both! {
    async fn a_lease_is_one_processs_at_a_time_over_registries(home) {
        let (registry, a, _) = home.two_tenants().await;
        let id = make_backend(&registry, &a).await.id;
        let registries: Vec<Registry> = [home.open().await, home.open().await, registry].into();
        let tries = (0..12).map(|n| {
            let (registry, a, id) = (registries[n % 3].clone(), a.clone(), id.clone());
            tokio::spawn(async move { registry.take_lease(&a, &id, "sign-in", 60_000).await.unwrap() })
        });
        let tries: Vec<_> = tries.collect();
        let mut given = Vec::new();
        for one in tries {
            given.extend(one.await.unwrap());
        }
        assert_eq!(given, [1]);
        assert_eq!(registries[1].take_lease(&a, &id, "another", 60_000).await.unwrap(), Some(1), "each name by itself");
    }

    async fn a_lease_ends_with_its_time_or_its_holder_and_the_next_has_a_higher_number(home) {
        let (registry, a, _) = home.two_tenants().await;
        let id = make_backend(&registry, &a).await.id;
        assert_eq!(registry.take_lease(&a, &id, "sign-in", 0).await.unwrap(), Some(1));
        assert_eq!(registry.take_lease(&a, &id, "sign-in", 60_000).await.unwrap(), Some(2), "the first died");
        assert!(!registry.end_lease(&a, &id, "sign-in", 1).await.unwrap(), "who comes late ends nothing");
        assert_eq!(registry.take_lease(&a, &id, "sign-in", 60_000).await.unwrap(), None);
        assert!(registry.end_lease(&a, &id, "sign-in", 2).await.unwrap());
        assert!(!registry.end_lease(&a, &id, "sign-in", 2).await.unwrap());
        assert_eq!(registry.take_lease(&a, &id, "sign-in", 60_000).await.unwrap(), Some(3));
    }

    async fn a_consent_is_taken_once_by_whoever_began_it(home) {
        let (registry, a, _) = home.two_tenants().await;
        let (id, other) = (make_backend(&registry, &a).await.id, make_backend(&registry, &a).await.id);
        let begun = registry.begin_consent(&a, &id, "https://issuer.example/token").await.unwrap();
        assert!(registry.take_consent(&a, &other, &begun.state).await.unwrap().is_none(), "for one backend");
        assert!(registry.take_consent(&a, &id, "guess").await.unwrap().is_none());
        let takes = (0..8).map(|_| {
            let (registry, a, id, state) = (registry.clone(), a.clone(), id.clone(), begun.state.clone());
            tokio::spawn(async move { registry.take_consent(&a, &id, &state).await.unwrap() })
        });
        let takes: Vec<_> = takes.collect();
        let mut taken = Vec::new();
        for one in takes {
            taken.extend(one.await.unwrap());
        }
        assert_eq!(taken.len(), 1);
        assert_eq!((taken[0].issuer.as_str(), &taken[0].verifier), ("https://issuer.example/token", &begun.verifier));
        assert_ne!(*begun.verifier, *begun.state);
        assert_eq!(begun.state.len(), 43);
    }

    async fn neither_state_nor_verifier_can_be_read_in_the_database(home) {
        let (registry, a, _) = home.two_tenants().await;
        let id = make_backend(&registry, &a).await.id;
        let begun = registry.begin_consent(&a, &id, "https://issuer.example/token").await.unwrap();
        let raw = home.raw_bytes();
        let holds = |text: &str| raw.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds("https://issuer.example/token"), "this is where it would be");
        assert!(!holds(&begun.state) && !holds(&begun.verifier));
    }

    async fn only_so_many_consents_are_on_their_way(home) {
        let (registry, a, _) = home.two_tenants().await;
        let id = make_backend(&registry, &a).await.id;
        let first = registry.begin_consent(&a, &id, "issuer").await.unwrap();
        // Each a little later than the one before: the oldest goes.
        for _ in 0..16 {
            let begun = registry.begin_consent(&a, &id, "issuer").await.unwrap();
            let now = std::time::Instant::now();
            while now.elapsed().as_millis() < 2 {
                std::hint::spin_loop();
            }
            drop(begun);
        }
        assert!(registry.take_consent(&a, &id, &first.state).await.unwrap().is_none());
    }

    async fn what_hangs_on_a_backend_goes_with_it(home) {
        let (registry, a, _) = home.two_tenants().await;
        let id = make_backend(&registry, &a).await.id;
        let begun = registry.begin_consent(&a, &id, "issuer").await.unwrap();
        registry.take_lease(&a, &id, "sign-in", 60_000).await.unwrap();
        assert!(registry.delete_backend(&a, &id).await.unwrap());
        assert!(registry.take_consent(&a, &id, &begun.state).await.unwrap().is_none());
    }
}

async fn late(registry: &Registry, a: &Tenant, home: &Home) -> bool {
    let id = make_backend(registry, a).await.id;
    let begun = registry.begin_consent(a, &id, "issuer").await.unwrap();
    psql(home, &format!("UPDATE consents SET expires_at = expires_at - {CONSENT_MS}"));
    registry.take_consent(a, &id, &begun.state).await.unwrap().is_none()
}

#[tokio::test]
async fn a_consent_that_comes_back_after_ten_minutes_is_none() {
    let home = Home::postgres();
    let (registry, a, _) = home.two_tenants().await;
    assert!(late(&registry, &a, &home).await);
}
