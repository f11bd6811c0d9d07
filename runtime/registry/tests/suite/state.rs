//! What components keep.

use causeway_registry::{Error, STATE_KEYS, STATE_VALUE_BYTES, Space};

use crate::engines::{make_backend, on_both};

on_both! {
    async fn a_swap_counts_on_the_last_change(home) {
        let (registry, a, _) = home.two_tenants().await;
        let id = make_backend(&registry, &a).await.id;
        let first = registry.swap(&a, &id, Space::State, "k", b"1", None, None).await.unwrap().unwrap();
        assert_eq!(registry.swap(&a, &id, Space::State, "k", b"2", None, None).await.unwrap(), None);
        let second = registry.swap(&a, &id, Space::State, "k", b"2", None, Some(first)).await.unwrap().unwrap();
        assert_eq!(registry.swap(&a, &id, Space::State, "k", b"3", None, Some(first)).await.unwrap(), None);
        let held = registry.held(&a, &id, Space::State, "k").await.unwrap().unwrap();
        assert_eq!((held.value.as_slice(), held.change), (&b"2"[..], second));
    }

    async fn a_change_number_never_returns(home) {
        let (registry, a, _) = home.two_tenants().await;
        let id = make_backend(&registry, &a).await.id;
        let old = registry.hold(&a, &id, Space::State, "k", b"1", None).await.unwrap();
        assert!(registry.drop_held(&a, &id, Space::State, "k").await.unwrap());
        registry.hold(&a, &id, Space::State, "k", b"2", None).await.unwrap();
        assert_eq!(registry.swap(&a, &id, Space::State, "k", b"3", None, Some(old)).await.unwrap(), None);
    }

    async fn many_swaps_at_once_lose_none(home) {
        let (registry, a, _) = home.two_tenants().await;
        let id = make_backend(&registry, &a).await.id;
        registry.hold(&a, &id, Space::State, "n", b"0", None).await.unwrap();
        let add = || async {
            loop {
                let held = registry.held(&a, &id, Space::State, "n").await.unwrap().unwrap();
                let next: u32 = std::str::from_utf8(&held.value).unwrap().parse::<u32>().unwrap() + 1;
                let swapped = registry.swap(&a, &id, Space::State, "n", next.to_string().as_bytes(), None, Some(held.change)).await.unwrap();
                if swapped.is_some() {
                    return;
                }
            }
        };
        tokio::join!(add(), add(), add(), add());
        assert_eq!(registry.held(&a, &id, Space::State, "n").await.unwrap().unwrap().value.as_slice(), b"4");
    }

    async fn what_has_expired_is_absent(home) {
        let (registry, a, _) = home.two_tenants().await;
        let id = make_backend(&registry, &a).await.id;
        registry.hold(&a, &id, Space::Slot, "token", b"1", Some(0)).await.unwrap();
        assert_eq!(registry.held(&a, &id, Space::Slot, "token").await.unwrap(), None);
        registry.hold(&a, &id, Space::Slot, "token", b"1", Some(60_000)).await.unwrap();
        assert!(registry.held(&a, &id, Space::Slot, "token").await.unwrap().unwrap().lives_ms.unwrap() > 50_000);
        assert!(registry.expire(&a, &id, Space::Slot, "token", 0).await.unwrap());
        assert_eq!(registry.held(&a, &id, Space::Slot, "token").await.unwrap(), None);
        assert!(registry.swap(&a, &id, Space::Slot, "token", b"2", None, None).await.unwrap().is_some());
    }

    async fn a_slot_is_not_a_key(home) {
        let (registry, a, _) = home.two_tenants().await;
        let id = make_backend(&registry, &a).await.id;
        registry.hold(&a, &id, Space::Slot, "k", b"secret", None).await.unwrap();
        assert_eq!(registry.held(&a, &id, Space::State, "k").await.unwrap(), None);
    }

    async fn limits_are_told(home) {
        let (registry, a, _) = home.two_tenants().await;
        let id = make_backend(&registry, &a).await.id;
        let hold = async |key: &str, value: &[u8]| registry.hold(&a, &id, Space::State, key, value, None).await;
        assert!(hold("large", &vec![0; STATE_VALUE_BYTES]).await.is_ok());
        assert!(matches!(hold("large", &vec![0; STATE_VALUE_BYTES + 1]).await, Err(Error::Limit(_))));
        assert!(matches!(hold(&"k".repeat(257), b"").await, Err(Error::Limit(_))));
        for number in 1..STATE_KEYS {
            hold(&number.to_string(), b"").await.unwrap();
        }
        assert!(matches!(hold("one too many", b"").await, Err(Error::Limit(_))));
        assert!(hold("large", b"an old key may change").await.is_ok());
        assert!(registry.drop_held(&a, &id, Space::State, "1").await.unwrap());
        assert!(hold("another", b"").await.is_ok());
    }

    async fn state_goes_with_its_backend(home) {
        let (registry, a, _) = home.two_tenants().await;
        let id = make_backend(&registry, &a).await.id;
        registry.hold(&a, &id, Space::State, "k", b"v", None).await.unwrap();
        assert!(registry.delete_backend(&a, &id).await.unwrap());
        assert_eq!(registry.held(&a, &id, Space::State, "k").await.unwrap(), None);
    }
}
