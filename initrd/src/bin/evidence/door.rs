//! Doors: where callers come in, each with places of its own.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use crate::answer::Answer;
use crate::connection::{Connection, after};
use crate::pace::Pace;
use crate::request::{Asked, Side};
use crate::start;

/// Where callers come from, and those who have. Each has places of its own, so that those of one are not in
/// the way of another's.
pub(crate) struct Door {
    listener: BorrowedFd<'static>,
    side: Side,
    places: [Option<Connection>; Self::PLACES],
}

impl Door {
    pub(crate) const PLACES: usize = 16;

    pub(crate) fn new(listener: BorrowedFd<'static>, side: Side) -> Self {
        Self { listener, side, places: [const { None }; Self::PLACES] }
    }

    pub(crate) fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.places.iter().flatten()
    }

    /// Since when there is a place, or from when on: a free one's is the beginning of time.
    pub(crate) fn room(&self) -> Option<u64> {
        let yields =
            |place: &Option<Connection>| place.as_ref().map_or(Some(0), Connection::yields);
        self.places.iter().filter_map(yields).min()
    }

    pub(crate) fn listener(&self) -> BorrowedFd<'static> {
        self.listener
    }

    /// Lets in whoever calls, while there is a place.
    pub(crate) fn accept(&mut self) -> Result<(), Errno> {
        while self.room().is_some_and(|room| room <= start::milliseconds()) {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(self.listener, flags) {
                Ok(socket) => self.put(Connection::new(socket, self.side)),
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    // The kernel will have memory again.
                    let _ = rustix::event::poll(&mut [], Some(&after(100)));
                    break;
                }
                Err(Errno::BADF | Errno::INVAL | Errno::NOTSOCK) => return Err(Errno::INVAL),
                // Whoever called is gone already.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                // Nobody calls.
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// In a free place, or that of whoever has done nothing for the longest time.
    fn put(&mut self, connection: Connection) {
        let yields = |place: &&mut Option<Connection>| match place {
            None => 0,
            Some(connection) => connection.yields().unwrap_or(u64::MAX),
        };
        if let Some(place) = self.places.iter_mut().min_by_key(yields) {
            *place = Some(connection);
        }
    }

    /// A turn for everyone here. What goes wrong with one connection is that connection's loss.
    pub(crate) fn turn(&mut self, pace: &mut Pace) {
        for place in &mut self.places {
            if place.as_mut().is_some_and(|connection| connection.turn(pace).is_err()) {
                *place = None;
            }
        }
    }

    /// Answers the one who is to be answered first, if it is time.
    pub(crate) fn answer(&mut self, with: impl FnOnce(Asked) -> Answer) {
        let asks = |place: &&mut Option<Connection>| {
            place.as_ref().is_some_and(|connection| connection.asks().is_some())
        };
        let due = |place: &&mut Option<Connection>| place.as_ref().map(Connection::due);
        let Some(place) = self.places.iter_mut().filter(asks).min_by_key(due) else { return };
        let Some(connection) = place else { return };
        let Some(asked) = connection.asks() else { return };
        if connection.answer(&with(asked)).is_err() {
            *place = None;
        }
    }
}
