//! The messages of RFC 2131, with the options of RFC 2132.

use core::net::Ipv4Addr;

use super::Mac;

/// The longest request that [`Request::write`] writes.
pub const MAX_REQUEST: usize = MINIMUM;

/// Some servers and relays drop anything shorter than a BOOTP message (RFC 1542, section 2.1).
const MINIMUM: usize = 300;
const OPTIONS: usize = 240;
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];

const BOOTREQUEST: u8 = 1;
const BOOTREPLY: u8 = 2;
const ETHERNET: u8 = 1;
const BROADCAST: [u8; 2] = [0x80, 0];

const PAD: u8 = 0;
const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const REQUESTED_ADDRESS: u8 = 50;
const LEASE_TIME: u8 = 51;
const MESSAGE_TYPE: u8 = 53;
const SERVER: u8 = 54;
const PARAMETERS: u8 = 55;
const END: u8 = 255;

/// A message to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// Who has an address for me?
    Discover,
    /// I take the address that this server offered.
    Select {
        /// The address.
        address: Ipv4Addr,
        /// The server.
        server: Ipv4Addr,
    },
    /// May I keep the address that I use? Sent to whichever server hears it (RFC 2131's REBINDING).
    Extend {
        /// The address.
        address: Ipv4Addr,
    },
}

/// What a reply says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// DHCPOFFER.
    Offer,
    /// DHCPACK.
    Ack,
    /// DHCPNAK.
    Nak,
}

/// A reply that is meant for us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reply {
    /// What it says.
    pub kind: Kind,
    /// Which server it names.
    pub server: Ipv4Addr,
    /// What it gives: always there in an offer and an acknowledgement, never in a refusal.
    pub lease: Option<Lease>,
}

/// An address, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The network's mask.
    pub mask: Ipv4Addr,
    /// The router to everywhere else, if there is one.
    pub router: Option<Ipv4Addr>,
    /// For how many seconds; `None` is for ever.
    pub seconds: Option<u32>,
}

impl Request {
    /// Writes the message; the rest of `buffer` stays zero.
    pub fn write(&self, mac: Mac, xid: u32) -> [u8; MAX_REQUEST] {
        let mut message = [0; MAX_REQUEST];
        message[0] = BOOTREQUEST;
        message[1] = ETHERNET;
        message[2] = 6;
        message[4..8].copy_from_slice(&xid.to_be_bytes());
        // Replies are broadcast: before it has an address the kernel would drop anything else.
        message[10..12].copy_from_slice(&BROADCAST);
        if let Self::Extend { address } = self {
            message[12..16].copy_from_slice(&address.octets());
        }
        message[28..34].copy_from_slice(&mac);
        message[236..OPTIONS].copy_from_slice(&COOKIE);
        let mut at = OPTIONS;
        let mut option = |code: u8, value: &[u8]| {
            message[at] = code;
            // At most six bytes.
            message[at + 1] = value.len() as u8;
            message[at + 2..at + 2 + value.len()].copy_from_slice(value);
            at += 2 + value.len();
        };
        option(MESSAGE_TYPE, &[if matches!(self, Self::Discover) { 1 } else { 3 }]);
        if let Self::Select { address, server } = self {
            option(REQUESTED_ADDRESS, &address.octets());
            option(SERVER, &server.octets());
        }
        option(PARAMETERS, &[SUBNET_MASK, ROUTER, LEASE_TIME]);
        message[at] = END;
        message
    }
}

impl Reply {
    /// Reads a reply to the request with this `xid` from this `mac`. `None` is anything else:
    /// malformed, not for us, or with an address that no guest should take.
    pub fn read(packet: &[u8], mac: Mac, xid: u32) -> Option<Self> {
        let header = packet.get(..OPTIONS)?;
        let ours = header[0..3] == [BOOTREPLY, ETHERNET, 6]
            && header[4..8] == xid.to_be_bytes()
            && header[28..34] == mac
            && header[34..44] == [0; 10]
            && header[236..240] == COOKIE;
        if !ours {
            return None;
        }
        let options = Options::read(&packet[OPTIONS..])?;
        let kind = match options.kind? {
            2 => Kind::Offer,
            5 => Kind::Ack,
            6 => Kind::Nak,
            _ => return None,
        };
        let server = options.server?;
        if kind == Kind::Nak {
            return Some(Self { kind, server, lease: None });
        }
        let address = Ipv4Addr::from_octets(*header[16..].first_chunk()?);
        let lease = Lease::check(address, options.mask?, options.router, options.seconds?)?;
        Some(Self { kind, server, lease: Some(lease) })
    }
}

impl Lease {
    fn check(
        address: Ipv4Addr,
        mask: Ipv4Addr,
        router: Option<Ipv4Addr>,
        seconds: u32,
    ) -> Option<Self> {
        let ones = mask.to_bits().leading_ones();
        let contiguous = ones + mask.to_bits().trailing_zeros() == 32;
        if !contiguous || ones < 8 || !is_host(address, mask) {
            return None;
        }
        // A /32 with a router elsewhere is how some clouds give addresses: the router need not be
        // in the network, but it must be a host, and another one.
        if router.is_some_and(|router| router == address || !is_host(router, Ipv4Addr::BROADCAST)) {
            return None;
        }
        let seconds = match seconds {
            0 => return None,
            u32::MAX => None,
            seconds => Some(seconds),
        };
        Some(Self { address, mask, router, seconds })
    }
}

/// Whether a machine may have this address in a network with this mask.
fn is_host(address: Ipv4Addr, mask: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    let local = address.to_bits() & !mask.to_bits();
    // In a /31 (RFC 3021) and a /32, every address is a host's.
    let edge = mask.to_bits().leading_ones() < 31 && (local == 0 || local == !mask.to_bits());
    (1..224).contains(&first) && first != 127 && !edge
}

/// The options that matter here. Those in the `sname` and `file` fields (option overload) are not
/// looked at, and one that stands twice makes the message malformed.
#[derive(Default)]
struct Options {
    kind: Option<u8>,
    server: Option<Ipv4Addr>,
    mask: Option<Ipv4Addr>,
    router: Option<Ipv4Addr>,
    seconds: Option<u32>,
}

impl Options {
    fn read(mut rest: &[u8]) -> Option<Self> {
        let mut options = Self::default();
        loop {
            let (&code, after) = rest.split_first()?;
            match code {
                END => return Some(options),
                PAD => {
                    rest = after;
                    continue;
                }
                _ => {}
            }
            let (&length, after) = after.split_first()?;
            let (value, after) = after.split_at_checked(length.into())?;
            rest = after;
            let twice = match code {
                MESSAGE_TYPE => options.kind.replace(u8::from_be_bytes(exact(value)?)).is_some(),
                SERVER => options.server.replace(Ipv4Addr::from_octets(exact(value)?)).is_some(),
                SUBNET_MASK => options.mask.replace(Ipv4Addr::from_octets(exact(value)?)).is_some(),
                LEASE_TIME => options.seconds.replace(u32::from_be_bytes(exact(value)?)).is_some(),
                ROUTER if value.len() % 4 == 0 => {
                    let first = Ipv4Addr::from_octets(*value.first_chunk()?);
                    options.router.replace(first).is_some()
                }
                ROUTER => return None,
                _ => false,
            };
            if twice {
                return None;
            }
        }
    }
}

fn exact<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    value.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    const XID: u32 = 0x1234_5678;

    /// A reply as QEMU's user network sends it: 10.0.2.15/24 by 10.0.2.2, for a day.
    fn reply(options: &[u8]) -> Vec<u8> {
        let mut packet = std::vec![0; OPTIONS];
        packet[..3].copy_from_slice(&[2, 1, 6]);
        packet[4..8].copy_from_slice(&XID.to_be_bytes());
        packet[16..20].copy_from_slice(&[10, 0, 2, 15]);
        packet[28..34].copy_from_slice(&MAC);
        packet[236..240].copy_from_slice(&COOKIE);
        packet.extend_from_slice(options);
        packet
    }

    const KIND: &[u8] = &[53, 1, 5];
    const BY: &[u8] = &[54, 4, 10, 0, 2, 2];
    const MASK: &[u8] = &[1, 4, 255, 255, 255, 0];
    const VIA: &[u8] = &[3, 4, 10, 0, 2, 2];
    const DAY: &[u8] = &[51, 4, 0, 1, 0x51, 0x80];

    fn read(options: &[&[u8]]) -> Option<Reply> {
        Reply::read(&reply(&options.concat()), MAC, XID)
    }

    #[test]
    fn a_good_reply_is_read() {
        let good = read(&[KIND, BY, MASK, VIA, DAY, &[6, 4, 1, 1, 1, 1], &[0, 0, 255, 9]]).unwrap();
        let lease = Lease {
            address: Ipv4Addr::new(10, 0, 2, 15),
            mask: Ipv4Addr::new(255, 255, 255, 0),
            router: Some(Ipv4Addr::new(10, 0, 2, 2)),
            seconds: Some(86400),
        };
        let server = Ipv4Addr::new(10, 0, 2, 2);
        assert_eq!(good, Reply { kind: Kind::Ack, server, lease: Some(lease) });
        let without_router = read(&[KIND, BY, MASK, DAY, &[255]]).unwrap();
        assert_eq!(without_router.lease.unwrap().router, None);
        let for_ever = read(&[KIND, BY, MASK, &[51, 4, 255, 255, 255, 255], &[255]]).unwrap();
        assert_eq!(for_ever.lease.unwrap().seconds, None);
        let two_routers = [3, 8, 10, 0, 2, 2, 10, 0, 2, 3];
        assert_eq!(
            read(&[KIND, BY, MASK, &two_routers, DAY, &[255]]).unwrap().lease.unwrap().router,
            Some(server)
        );
        let refusal = read(&[&[53, 1, 6], BY, &[255]]).unwrap();
        assert_eq!(refusal, Reply { kind: Kind::Nak, server, lease: None });
    }

    #[test]
    fn hostile_options_make_no_reply() {
        let end: &[u8] = &[255];
        let cases: &[(&str, &[&[u8]])] = &[
            ("no end", &[KIND, BY, MASK, VIA, DAY]),
            ("nothing at all", &[]),
            ("no type", &[BY, MASK, VIA, DAY, end]),
            ("type of a request", &[&[53, 1, 1], BY, MASK, VIA, DAY, end]),
            ("type too long", &[&[53, 2, 5, 5], BY, MASK, VIA, DAY, end]),
            ("two types", &[KIND, KIND, BY, MASK, VIA, DAY, end]),
            ("no server", &[KIND, MASK, VIA, DAY, end]),
            ("no mask", &[KIND, BY, VIA, DAY, end]),
            ("mask with a hole", &[KIND, BY, &[1, 4, 255, 0, 255, 0], VIA, DAY, end]),
            ("mask of everything", &[KIND, BY, &[1, 4, 0, 0, 0, 0], VIA, DAY, end]),
            (
                "mask that makes us the broadcast",
                &[KIND, BY, &[1, 4, 255, 255, 255, 240], DAY, end],
            ),
            ("mask cut short", &[KIND, BY, VIA, DAY, &[1, 4, 255, 255]]),
            ("mask of three bytes", &[KIND, BY, &[1, 3, 255, 255, 0], VIA, DAY, end]),
            ("two masks", &[KIND, BY, MASK, MASK, VIA, DAY, end]),
            ("router is us", &[KIND, BY, MASK, &[3, 4, 10, 0, 2, 15], DAY, end]),
            ("router is loopback", &[KIND, BY, MASK, &[3, 4, 127, 0, 0, 1], DAY, end]),
            ("router is multicast", &[KIND, BY, MASK, &[3, 4, 224, 0, 0, 1], DAY, end]),
            ("router of no bytes", &[KIND, BY, MASK, &[3, 0], DAY, end]),
            ("router and a half", &[KIND, BY, MASK, &[3, 6, 10, 0, 2, 2, 10, 0], DAY, end]),
            ("no lease time", &[KIND, BY, MASK, VIA, end]),
            ("lease of no time", &[KIND, BY, MASK, VIA, &[51, 4, 0, 0, 0, 0], end]),
            ("length past the end", &[KIND, BY, MASK, VIA, DAY, &[12, 200, 1]]),
            ("code without length", &[KIND, BY, MASK, VIA, DAY, &[12]]),
        ];
        for (what, options) in cases {
            assert_eq!(read(options), None, "{what}");
        }
    }

    #[test]
    fn a_reply_for_another_is_none() {
        let good = reply(&[KIND, BY, MASK, VIA, DAY, &[255]].concat());
        assert!(Reply::read(&good, MAC, XID).is_some());
        assert_eq!(Reply::read(&good, MAC, XID + 1), None);
        assert_eq!(Reply::read(&good, [2; 6], XID), None);
        for at in [0, 1, 2, 40, 236, 239] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(Reply::read(&bad, MAC, XID), None, "byte {at}");
        }
        for address in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [10, 0, 2, 0]] {
            let mut bad = good.clone();
            bad[16..20].copy_from_slice(&address);
            assert_eq!(Reply::read(&bad, MAC, XID), None, "{address:?}");
        }
        for length in 0..good.len() {
            assert_eq!(Reply::read(&good[..length], MAC, XID), None, "{length} bytes");
        }
    }

    #[test]
    fn requests_are_as_rfc_2131_has_them() {
        let address = Ipv4Addr::new(10, 0, 2, 15);
        let server = Ipv4Addr::new(10, 0, 2, 2);
        let discover = Request::Discover.write(MAC, XID);
        assert_eq!(discover[..12], [1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x80, 0]);
        assert_eq!(discover[12..28], [0; 16]);
        assert_eq!(discover[28..34], MAC);
        assert_eq!(discover[236..249], [0x63, 0x82, 0x53, 0x63, 53, 1, 1, 55, 3, 1, 3, 51, 255]);
        let select = Request::Select { address, server }.write(MAC, XID);
        assert_eq!(select[12..16], [0; 4]);
        assert_eq!(select[240..255], [53, 1, 3, 50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2]);
        let extend = Request::Extend { address }.write(MAC, XID);
        assert_eq!(extend[12..16], [10, 0, 2, 15]);
        assert_eq!(extend[240..249], [53, 1, 3, 55, 3, 1, 3, 51, 255]);
    }

    proptest! {
        #[test]
        fn no_packet_makes_the_reader_panic(options in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Reply::read(&reply(&options), MAC, XID);
            let _ = Reply::read(&options, MAC, XID);
        }

        #[test]
        fn what_is_taken_is_always_an_address_of_a_host(
            address: [u8; 4], mask: [u8; 4], router: [u8; 4], seconds: [u8; 4],
        ) {
            let mut packet = reply(&[KIND, BY, &[1, 4], &mask, &[3, 4], &router, &[51, 4], &seconds,
                &[255]].concat());
            packet[16..20].copy_from_slice(&address);
            if let Some(Reply { lease: Some(lease), .. }) = Reply::read(&packet, MAC, XID) {
                for host in [Some(lease.address), lease.router].into_iter().flatten() {
                    prop_assert!(!host.is_unspecified() && !host.is_loopback());
                    prop_assert!(!host.is_multicast() && !host.is_broadcast());
                }
                prop_assert!(lease.seconds != Some(0));
            }
        }
    }
}
