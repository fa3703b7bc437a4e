//! The network: loopback always, and one Ethernet interface if the plan says so.

use core::net::{Ipv4Addr, SocketAddrV4};

use counterfoil_init::dhcp::{Client, Event, Lease, Mac};
use counterfoil_init::plan::Plan;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::rand::GetRandomFlags;

use crate::console::{Failure, say};
use crate::start;
use crate::sys::{self, InterfaceRequest, Route};

/// How long an interface may take to appear after its driver was loaded.
const APPEAR: u64 = 10_000;
/// How long the first address may take.
const FIRST_LEASE: u64 = 60_000;

const CLIENT_PORT: u16 = 68;
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);

/// Brings the loopback interface up and, if the plan has it, the network; then there is an
/// address.
pub(crate) fn up<'p>(plan: &Plan<'p>) -> Result<Option<Network>, Failure<'p>> {
    let socket = udp_socket()?;
    Interface::named(b"lo").bring_up(socket.as_fd())?;
    if !plan.network_dhcp {
        return Ok(None);
    }
    let interface = Interface::await_ethernet(socket.as_fd())?;
    interface.bring_up(socket.as_fd())?;
    let mac = interface.mac(socket.as_fd())?;
    let mut network = Network::new(interface, socket, mac)?;
    network.await_lease()?;
    Ok(Some(network))
}

/// An interface that is configured by DHCP, for as long as the guest runs.
pub(crate) struct Network {
    interface: Interface,
    socket: OwnedFd,
    client: Client,
    bound: bool,
}

impl Network {
    fn new(interface: Interface, socket: OwnedFd, mac: Mac) -> Result<Self, Failure<'static>> {
        let failed = |errno| Failure::System("cannot open a DHCP socket", "", errno);
        rustix::net::sockopt::set_socket_broadcast(&socket, true).map_err(failed)?;
        sys::bind_to_device(&socket, &interface.name).map_err(failed)?;
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);
        rustix::net::bind(&socket, &address).map_err(failed)?;

        // Only to tell replies apart: the host sees it anyway, so it need not wait for entropy.
        let mut xid = [0; 4];
        let _ = rustix::rand::getrandom(&mut xid, GetRandomFlags::INSECURE);
        let client = Client::new(mac, u32::from_ne_bytes(xid), seconds());
        Ok(Self { interface, socket, client, bound: false })
    }

    /// When [`Network::tend`] should be called, in milliseconds of the clock; `None` is never.
    pub(crate) fn due(&self) -> Option<u64> {
        self.client.due().map(|seconds| seconds * 1000)
    }

    /// Reads what has come and sends what is due. Never blocks.
    pub(crate) fn tend(&mut self) -> Result<(), Failure<'static>> {
        // One byte more than any DHCP message that fits an Ethernet frame; the rest is cut off.
        let mut packet = [0; 1501];
        // Bounded, so that a flood cannot keep PID 1 here.
        for _ in 0..16 {
            let Ok((length, _)) =
                rustix::net::recv(&self.socket, &mut packet[..], RecvFlags::DONTWAIT)
            else {
                break;
            };
            let event = self.client.receive(&packet[..length], seconds());
            self.apply(event)?;
        }
        let (request, event) = self.client.act(seconds());
        self.apply(event)?;
        if let Some(request) = request {
            // A packet that is not sent is a packet that is lost; the client sends again.
            let _ = rustix::net::sendto(&self.socket, &request, SendFlags::DONTWAIT, &SERVER);
        }
        Ok(())
    }

    fn await_lease(&mut self) -> Result<(), Failure<'static>> {
        let deadline = start::milliseconds() + FIRST_LEASE;
        loop {
            self.tend()?;
            let now = start::milliseconds();
            if self.bound {
                return Ok(());
            }
            if now >= deadline {
                return Err(Failure::NoLease);
            }
            let left = self.due().map_or(deadline, |due| due.min(deadline)).saturating_sub(now);
            let timeout = Timespec {
                tv_sec: (left / 1000) as i64,
                tv_nsec: (left % 1000 * 1_000_000) as i64,
            };
            let mut poll = [PollFd::new(&self.socket, PollFlags::IN)];
            let _ = rustix::event::poll(&mut poll, Some(&timeout));
        }
    }

    fn apply(&mut self, event: Option<Event>) -> Result<(), Failure<'static>> {
        match event {
            Some(Event::Bound(lease)) => {
                self.interface.configure(self.socket.as_fd(), &lease)?;
                if !self.bound {
                    let prefix = lease.mask.to_bits().leading_ones();
                    say!("{} has {}/{prefix}", self.interface.as_str(), lease.address);
                }
                self.bound = true;
            }
            // RFC 2131 has the address go when its lease ends. Its routes go with it.
            Some(Event::Lost) => {
                say!("{} has lost its address", self.interface.as_str());
                self.interface.set_address(self.socket.as_fd(), Ipv4Addr::UNSPECIFIED)?;
                self.bound = false;
            }
            None => {}
        }
        Ok(())
    }
}

impl AsFd for Network {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// An interface, by its name with the NULs that fill it up to sixteen bytes.
struct Interface {
    name: [u8; 16],
}

impl Interface {
    fn named(name: &[u8]) -> Self {
        let mut filled = [0; 16];
        // The kernel's names have fifteen bytes at most.
        for (to, from) in filled.iter_mut().zip(name).take(15) {
            *to = *from;
        }
        Self { name: filled }
    }

    /// The Ethernet interface with the lowest index: virtio-net's may appear a moment after its
    /// driver.
    fn await_ethernet(socket: BorrowedFd<'_>) -> Result<Self, Failure<'static>> {
        const FIRST_INDICES: core::ops::Range<u32> = 1..64;
        let deadline = start::milliseconds() + APPEAR;
        loop {
            for index in FIRST_INDICES {
                let Ok(name) = rustix::net::netdevice::index_to_name_inlined(socket, index) else {
                    continue;
                };
                let interface = Self::named(name.as_bytes());
                if interface.mac(socket).is_ok() {
                    return Ok(interface);
                }
            }
            if start::milliseconds() >= deadline {
                return Err(Failure::NoInterface);
            }
            let pause = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            let _ = rustix::event::poll(&mut [], Some(&pause));
        }
    }

    /// The hardware address, if the interface is an Ethernet.
    fn mac(&self, socket: BorrowedFd<'_>) -> Result<Mac, Failure<'static>> {
        const ARPHRD_ETHER: [u8; 2] = 1_u16.to_ne_bytes();
        let failed = |errno| Failure::System("no Ethernet address", "", errno);
        let mut request = self.request();
        sys::interface_ioctl(socket, InterfaceRequest::GetHardwareAddress, &mut request)
            .map_err(failed)?;
        let (kind, mac) = (&request[16..18], &request[18..24]);
        match mac.try_into() {
            Ok(mac) if kind == ARPHRD_ETHER => Ok(mac),
            _ => Err(failed(Errno::INVAL)),
        }
    }

    fn bring_up(&self, socket: BorrowedFd<'_>) -> Result<(), Failure<'static>> {
        const IFF_UP: u8 = 1;
        let failed = |errno| Failure::System("cannot bring up a network interface", "", errno);
        let mut request = self.request();
        sys::interface_ioctl(socket, InterfaceRequest::GetFlags, &mut request).map_err(failed)?;
        request[16] |= IFF_UP;
        sys::interface_ioctl(socket, InterfaceRequest::SetFlags, &mut request).map_err(failed)
    }

    fn configure(&self, socket: BorrowedFd<'_>, lease: &Lease) -> Result<(), Failure<'static>> {
        const RTF_UP: u16 = 1;
        const RTF_GATEWAY: u16 = 2;
        const RTF_HOST: u16 = 4;
        let failed = |errno| Failure::System("cannot configure the network interface", "", errno);
        self.set_address(socket, lease.address)?;
        let mut request = self.request();
        request[16..32].copy_from_slice(&socket_address(lease.mask));
        sys::interface_ioctl(socket, InterfaceRequest::SetNetmask, &mut request).map_err(failed)?;
        let Some(router) = lease.router else {
            return Ok(());
        };
        let add = |route| match sys::add_route(socket, &route, &self.name) {
            // It is there from the last time.
            Err(Errno::EXIST) => Ok(()),
            added => added.map_err(failed),
        };
        let zero = socket_address(Ipv4Addr::UNSPECIFIED);
        let same_network = |address: Ipv4Addr| address.to_bits() & lease.mask.to_bits();
        if same_network(router) != same_network(lease.address) {
            add(Route {
                destination: socket_address(router),
                gateway: zero,
                mask: socket_address(Ipv4Addr::BROADCAST),
                flags: RTF_UP | RTF_HOST,
            })?;
        }
        add(Route {
            destination: zero,
            gateway: socket_address(router),
            mask: zero,
            flags: RTF_UP | RTF_GATEWAY,
        })
    }

    fn set_address(
        &self,
        socket: BorrowedFd<'_>,
        address: Ipv4Addr,
    ) -> Result<(), Failure<'static>> {
        let mut request = self.request();
        request[16..32].copy_from_slice(&socket_address(address));
        sys::interface_ioctl(socket, InterfaceRequest::SetAddress, &mut request)
            .map_err(|errno| Failure::System("cannot set the network address", "", errno))
    }

    /// A `struct ifreq` with nothing in it but the name.
    fn request(&self) -> [u8; 40] {
        let mut request = [0; 40];
        request[..16].copy_from_slice(&self.name);
        request
    }

    fn as_str(&self) -> &str {
        let name = self.name.split(|byte| *byte == 0).next().unwrap_or_default();
        core::str::from_utf8(name).unwrap_or_default()
    }
}

/// A `struct sockaddr_in` without a port.
fn socket_address(address: Ipv4Addr) -> [u8; 16] {
    const AF_INET: [u8; 2] = 2_u16.to_ne_bytes();
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&AF_INET);
    bytes[4..8].copy_from_slice(&address.octets());
    bytes
}

fn udp_socket() -> Result<OwnedFd, Failure<'static>> {
    rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Failure::System("cannot open a socket", "", errno))
}

fn seconds() -> u64 {
    start::milliseconds() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_with_nul_and_never_to_the_brim() {
        assert_eq!(Interface::named(b"lo").as_str(), "lo");
        assert_eq!(Interface::named(b"0123456789abcdefgh").name[15], 0);
        assert_eq!(Interface::named(b"lo").request()[..4], *b"lo\0\0");
    }

    #[test]
    fn a_socket_address_is_in_network_order() {
        let bytes = socket_address(Ipv4Addr::new(10, 0, 2, 15));
        assert_eq!(bytes, [2, 0, 0, 0, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
