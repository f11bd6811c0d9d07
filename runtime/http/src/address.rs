//! Which addresses may be reached. It resolves and connects nothing; `gate` asks it about every address before it connects.
//!
//! Three classes: public ones; private ones, which an operator can allow; and closed ones, which nobody can. Addresses that
//! embed an IPv4 address (mapped, NAT64, 6to4) are judged by what they embed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;

/// How far an address may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By anyone.
    Public,
    /// If the operator allows it.
    Private,
    /// Never: link-local addresses and those of instance metadata.
    Closed,
}

/// Metadata services outside the link-local range: Alibaba's and Azure's.
const CLOSED_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];

/// Amazon's metadata service over IPv6.
const CLOSED_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// The class of an address.
pub(crate) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => embedded(v6).map_or_else(|| reach_v6(v6), reach_v4),
    }
}

/// The IPv4 address that a connection to this one ends at, where there is one.
pub(crate) fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => embedded(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        // ::ffff:0:0/96, and the deprecated ::/96 but for :: and ::1.
        [0, 0, 0, 0, 0, 0xffff] => Some(v4(g, h)),
        [0, 0, 0, 0, 0, 0] if g != 0 || h > 1 => Some(v4(g, h)),
        // NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0] => Some(v4(g, h)),
        // 6to4.
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    if address.is_link_local() || CLOSED_V4.contains(&address) {
        return Reach::Closed;
    }
    let private = address.is_private()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        // Carrier-grade NAT, protocol assignments, benchmarks, reserved.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240;
    if private { Reach::Private } else { Reach::Public }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let [a, b, ..] = address.segments();
    if address == CLOSED_V6 || (a & 0xffc0) == 0xfe80 {
        return Reach::Closed;
    }
    let private = address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        // Unique local, site-local, local NAT64, Teredo and other special assignments, documentation, discard.
        || (a & 0xfe00) == 0xfc00
        || (a & 0xffc0) == 0xfec0
        || (a == 0x64 && b == 0xff9b)
        || (a == 0x2001 && (b < 0x200 || b == 0xdb8))
        || a == 0x100;
    if private { Reach::Private } else { Reach::Public }
}

/// Whether the operator allows this private address.
pub(crate) fn is_allowed(address: IpAddr, allowed: &[IpNet]) -> bool {
    let plain = plain(address);
    allowed.iter().any(|net| net.contains(&address) || net.contains(&plain))
}

/// Whether a connection to `target` would arrive at the listener. A listener on an unspecified address hears on every
/// address of this machine; a connection to an unspecified address goes to loopback.
pub(crate) fn reaches_listener(target: SocketAddr, listener: SocketAddr) -> bool {
    if target.port() != listener.port() {
        return false;
    }
    let to = plain(target.ip());
    let heard = plain(listener.ip());
    if heard.is_unspecified() {
        return to.is_unspecified() || to.is_loopback() || is_of_this_machine(to);
    }
    to == heard || (to.is_unspecified() && heard.is_loopback())
}

/// Only an address of this machine can be bound.
fn is_of_this_machine(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Reach {
        reach(text.parse().unwrap())
    }

    #[test]
    fn metadata_and_link_local_addresses_are_closed_in_every_form() {
        for closed in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
        ] {
            assert_eq!(of(closed), Reach::Closed, "{closed}");
        }
    }

    #[test]
    fn private_addresses_are_private_in_every_form() {
        for private in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::",
            "::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2002:c0a8:101::",
            "64:ff9b:1::1",
            "2001::1",
            "2001:db8::1",
        ] {
            assert_eq!(of(private), Reach::Private, "{private}");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for public in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert_eq!(of(public), Reach::Public, "{public}");
        }
    }

    #[test]
    fn a_listener_is_found_behind_every_name_of_it() {
        let reaches =
            |target: &str, listener: &str| reaches_listener(target.parse().unwrap(), listener.parse().unwrap());
        assert!(reaches("127.0.0.1:80", "127.0.0.1:80"));
        assert!(reaches("0.0.0.0:80", "127.0.0.1:80"));
        assert!(reaches("[::ffff:127.0.0.1]:80", "127.0.0.1:80"));
        assert!(reaches("127.0.0.9:80", "0.0.0.0:80"));
        assert!(!reaches("127.0.0.1:81", "127.0.0.1:80"));
        assert!(!reaches("192.0.2.7:80", "0.0.0.0:80"));
    }
}
