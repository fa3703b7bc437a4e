//! What of the guest's memory a launch fills. No machine adds a page twice: it is the guest's after the
//! first time (Linux, arch/x86/kvm/svm/sev.c, sev_gmem_post_populate). Nor one that it has no address
//! for.

use super::IgvmError;
use crate::launch::page::PAGE_SIZE;

/// The end of guest memory: the architecture has at most 52 bits of physical address (APM volume 2,
/// chapter 5, "Page Translation and Protection").
pub(super) const LIMIT: u64 = 1 << 52;

/// Every address that directives for SEV-SNP fill, whatever of it is measured.
#[derive(Default)]
pub(super) struct Memory {
    ranges: Vec<Range>,
    /// Apart from the others, since VMSAs may share an address: KVM gives all of them the same.
    vmsas: Vec<Range>,
}

/// Not empty, aligned to pages, and below [`LIMIT`].
#[derive(Clone, Copy)]
struct Range {
    gpa: u64,
    end: u64,
    /// Where its header is.
    offset: usize,
}

impl Memory {
    /// Adds a page, or the pages of a parameter area.
    pub(super) fn add(&mut self, offset: usize, gpa: u64, size: u64) -> Result<(), IgvmError> {
        let range = Range::new(offset, gpa, size)?;
        self.ranges.extend((size != 0).then_some(range));
        Ok(())
    }

    pub(super) fn add_vmsa(&mut self, offset: usize, gpa: u64) -> Result<(), IgvmError> {
        self.vmsas.push(Range::new(offset, gpa, PAGE_SIZE.into())?);
        Ok(())
    }

    /// Refuses what is filled twice.
    pub(super) fn check(mut self) -> Result<(), IgvmError> {
        self.ranges.sort_unstable_by_key(|range| (range.gpa, range.offset));
        let neighbours = self.ranges.iter().zip(self.ranges.iter().skip(1));
        for (range, next) in neighbours {
            if next.gpa < range.end {
                return Err(range.overlaps(next));
            }
        }
        for vmsa in &self.vmsas {
            let after = self.ranges.partition_point(|range| range.gpa <= vmsa.gpa);
            let before = after.checked_sub(1).and_then(|index| self.ranges.get(index));
            if let Some(range) = before.filter(|range| vmsa.gpa < range.end) {
                return Err(range.overlaps(vmsa));
            }
        }
        Ok(())
    }
}

impl Range {
    fn new(offset: usize, gpa: u64, size: u64) -> Result<Self, IgvmError> {
        let end = gpa.checked_add(size).filter(|end| *end <= LIMIT);
        let end = end.ok_or_else(|| IgvmError::Field {
            offset,
            field: "the guest address",
            found: gpa,
            expected: format!("{size:#x} bytes that end at {LIMIT:#x} or before"),
        })?;
        Ok(Self { gpa, end, offset })
    }

    /// The one that is later in the file is the one that is wrong.
    fn overlaps(&self, other: &Self) -> IgvmError {
        IgvmError::Overlap {
            offset: self.offset.max(other.offset),
            first: self.offset.min(other.offset),
            gpa: self.gpa.max(other.gpa),
        }
    }
}
