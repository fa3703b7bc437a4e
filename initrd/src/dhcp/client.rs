//! The client's states: when to send what, and which replies to believe. Times are seconds of a
//! clock that never goes back.

use core::net::Ipv4Addr;

use super::Mac;
use super::message::{Kind, Lease, MAX_REQUEST, Reply, Request};

/// No shorter lease is honoured to the second: a server must not be able to keep PID 1 busy.
const SHORTEST_LEASE: u64 = 60;
const FIRST_WAIT: u64 = 1;
const LONGEST_WAIT: u64 = 16;
const SELECT_ATTEMPTS: u32 = 4;

/// A client of one interface.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    mac: Mac,
    xid: u32,
    state: State,
    /// When to send next; `None` is never.
    due: Option<u64>,
    attempts: u32,
}

/// What came of a packet or of time passing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The interface must have this address from now on, and no other.
    Bound(Lease),
    /// The address is no longer ours; another is being asked for.
    Lost,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Discovering,
    Selecting {
        address: Ipv4Addr,
        server: Ipv4Addr,
    },
    /// `until` is when the lease ends; `None` is never.
    Bound {
        lease: Lease,
        until: Option<u64>,
    },
    Extending {
        lease: Lease,
        until: u64,
    },
}

impl Client {
    /// A client that has no address yet. The `xid` should be random.
    pub fn new(mac: Mac, xid: u32, now: u64) -> Self {
        Self { mac, xid, state: State::Discovering, due: Some(now), attempts: 0 }
    }

    /// When [`Client::act`] wants to be called next; `None` is never.
    pub fn due(&self) -> Option<u64> {
        self.due
    }

    /// What to send, and what has happened, if it is time.
    pub fn act(&mut self, now: u64) -> (Option<[u8; MAX_REQUEST]>, Option<Event>) {
        if self.due.is_none_or(|due| now < due) {
            return (None, None);
        }
        let mut event = None;
        match self.state {
            State::Bound { lease, until: Some(until) } if now < until => {
                self.enter(State::Extending { lease, until }, now);
            }
            State::Extending { until, .. } if now < until => {}
            State::Bound { .. } | State::Extending { .. } => {
                event = Some(Event::Lost);
                self.enter(State::Discovering, now);
            }
            State::Selecting { .. } if self.attempts >= SELECT_ATTEMPTS => {
                self.enter(State::Discovering, now);
            }
            State::Selecting { .. } | State::Discovering => {}
        }
        let (request, latest) = match self.state {
            State::Discovering => (Request::Discover, u64::MAX),
            State::Selecting { address, server } => (Request::Select { address, server }, u64::MAX),
            State::Bound { lease, .. } => (Request::Extend { address: lease.address }, u64::MAX),
            State::Extending { lease, until } => {
                (Request::Extend { address: lease.address }, until)
            }
        };
        let wait = (FIRST_WAIT << self.attempts.min(4)).min(LONGEST_WAIT);
        self.attempts = self.attempts.saturating_add(1);
        self.due = Some((now + wait).min(latest));
        (Some(request.write(self.mac, self.xid)), event)
    }

    /// Takes a packet that came to the client's port.
    pub fn receive(&mut self, packet: &[u8], now: u64) -> Option<Event> {
        let reply = Reply::read(packet, self.mac, self.xid)?;
        match (self.state, reply.kind, reply.lease) {
            (State::Discovering, Kind::Offer, Some(lease)) => {
                let address = lease.address;
                self.enter(State::Selecting { address, server: reply.server }, now);
                None
            }
            (State::Selecting { address, server }, Kind::Ack, Some(lease))
                if lease.address == address && reply.server == server =>
            {
                Some(self.bind(lease, now))
            }
            (State::Extending { lease: held, .. }, Kind::Ack, Some(lease))
                if lease.address == held.address =>
            {
                Some(self.bind(lease, now))
            }
            (State::Selecting { server, .. }, Kind::Nak, _) if reply.server == server => {
                // Not at once: a server that offers and refuses by turns would be a busy loop.
                self.enter(State::Discovering, now + FIRST_WAIT);
                None
            }
            (State::Extending { .. }, Kind::Nak, _) => {
                self.enter(State::Discovering, now + FIRST_WAIT);
                Some(Event::Lost)
            }
            _ => None,
        }
    }

    fn bind(&mut self, lease: Lease, now: u64) -> Event {
        let length = lease.seconds.map(|seconds| u64::from(seconds).max(SHORTEST_LEASE));
        let until = length.map(|length| now + length);
        self.enter(State::Bound { lease, until }, now);
        self.due = length.map(|length| now + length / 2);
        Event::Bound(lease)
    }

    fn enter(&mut self, state: State, due: u64) {
        self.state = state;
        self.due = Some(due);
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 1];
    const XID: u32 = 7;

    fn packet(kind: u8, address: [u8; 4], seconds: u32) -> Vec<u8> {
        let mut packet = std::vec![0; 236];
        packet[..8].copy_from_slice(&[2, 1, 6, 0, 0, 0, 0, 7]);
        packet[16..20].copy_from_slice(&address);
        packet[28..34].copy_from_slice(&MAC);
        packet.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind, 54, 4, 10, 0, 0, 1]);
        packet.extend([1, 4, 255, 0, 0, 0, 51, 4]);
        packet.extend(seconds.to_be_bytes());
        packet.push(255);
        packet
    }

    const OFFER: u8 = 2;
    const ACK: u8 = 5;
    const NAK: u8 = 6;
    const MINE: [u8; 4] = [10, 0, 0, 9];

    fn bound(seconds: u32) -> Client {
        let mut client = Client::new(MAC, XID, 100);
        assert!(client.act(100).0.is_some());
        assert_eq!(client.receive(&packet(OFFER, MINE, seconds), 100), None);
        assert_eq!(client.act(100).0.unwrap()[240..243], [53, 1, 3]);
        let event = client.receive(&packet(ACK, MINE, seconds), 100);
        assert!(matches!(event, Some(Event::Bound(lease)) if lease.address.octets() == MINE));
        client
    }

    #[test]
    fn discovery_backs_off() {
        let mut client = Client::new(MAC, XID, 0);
        let mut sent = Vec::new();
        for now in 0..64 {
            if client.act(now).0.is_some() {
                sent.push(now);
            }
        }
        assert_eq!(sent, [0, 1, 3, 7, 15, 31, 47, 63]);
    }

    #[test]
    fn an_answer_to_no_question_is_not_believed() {
        let mut client = Client::new(MAC, XID, 0);
        client.act(0);
        assert_eq!(client.receive(&packet(ACK, MINE, 600), 0), None);
        assert_eq!(client.receive(&packet(NAK, MINE, 600), 0), None);
        client.receive(&packet(OFFER, MINE, 600), 0);
        client.act(0);
        assert_eq!(
            client.receive(&packet(ACK, [10, 0, 0, 8], 600), 0),
            None,
            "not the one offered"
        );
        let mut held = bound(600);
        assert_eq!(held.receive(&packet(NAK, MINE, 600), 101), None, "nothing was asked");
        assert_eq!(held.receive(&packet(ACK, [10, 0, 0, 8], 600), 101), None);
    }

    #[test]
    fn a_lease_is_extended_half_way_and_lost_at_its_end() {
        let mut client = bound(600);
        assert_eq!(client.due(), Some(400));
        assert_eq!(client.act(399), (None, None));
        let (request, event) = client.act(400);
        assert_eq!((&request.unwrap()[12..16], event), (&MINE[..], None));
        let mut extended = client;
        assert!(extended.receive(&packet(ACK, MINE, 600), 402).is_some());
        assert_eq!(extended.due(), Some(702));
        let mut refused = client;
        assert_eq!(refused.receive(&packet(NAK, MINE, 600), 402), Some(Event::Lost));
        assert_eq!(refused.due(), Some(403));
        let lost = (401..).find(|now| client.act(*now).1 == Some(Event::Lost));
        assert_eq!(lost, Some(700));
    }

    #[test]
    fn a_short_lease_is_stretched_and_an_endless_one_never_due() {
        assert_eq!(bound(1).due(), Some(130));
        assert_eq!(bound(u32::MAX).due(), None);
    }

    #[test]
    fn a_server_that_goes_silent_is_given_up() {
        let mut client = Client::new(MAC, XID, 0);
        client.act(0);
        client.receive(&packet(OFFER, MINE, 600), 0);
        let kinds: Vec<_> =
            (0..16).filter_map(|now| client.act(now).0).map(|request| request[242]).collect();
        assert_eq!(kinds, [3, 3, 3, 3, 1]);
    }
}
