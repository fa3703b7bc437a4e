//! How often a report is made for others than the workload: each takes the security processor's time.

/// When reports may be made for remote callers: two a second, and some more at once after a while without.
pub(crate) struct Pace {
    next: u64,
}

impl Pace {
    /// Between one report and the next, in milliseconds.
    const EVERY: u64 = 500;

    /// So much time may be saved up.
    const SAVED: u64 = 3 * Self::EVERY;

    /// So long a caller may have to wait.
    const AHEAD: u64 = 4 * Self::EVERY;

    pub(crate) const fn new() -> Self {
        Self { next: 0 }
    }

    /// The time of the next report, which nobody else then has; `None` if too many wait.
    pub(crate) fn next(&mut self, now: u64) -> Option<u64> {
        let at = self.next.max(now.saturating_sub(Self::SAVED));
        if at > now + Self::AHEAD {
            return None;
        }
        self.next = at + Self::EVERY;
        Some(at)
    }

    /// That one took so long: while it was made, there was no time for others.
    pub(crate) fn took(&mut self, time: u64) {
        self.next += time.saturating_sub(Self::EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_paced() {
        let mut pace = Pace::new();
        let now = 1_000_000;
        let times: Vec<_> = (0..10).map_while(|_| pace.next(now)).collect();
        let expected = [-1500, -1000, -500, 0, 500, 1000, 1500, 2000];
        assert_eq!(times, expected.map(|after| now.saturating_add_signed(after)));
        assert_eq!(pace.next(now + 499), None);
        assert_eq!(pace.next(now + 500), Some(now + 2500));
        // What was not used long ago is not saved up.
        let later = now + 1_000_000;
        assert_eq!((0..10).map_while(|_| pace.next(later)).count(), expected.len());
        assert_eq!(Pace::new().next(7), Some(0));
        let mut slow = Pace::new();
        assert_eq!(slow.next(now), Some(now - 1500));
        slow.took(3000);
        assert_eq!(slow.next(now), Some(now + 1500));
    }
}
