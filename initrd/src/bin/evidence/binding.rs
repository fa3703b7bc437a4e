//! What the workload has bound: in a file that PID 1 made and hands to each agent, so that it is the same for
//! as long as the workload lives.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::answer::Refusal;
use crate::reports::Fault;

/// 32 bytes; zeros while nothing is bound.
pub(crate) struct Binding {
    file: BorrowedFd<'static>,
}

impl Binding {
    /// If it can be told what is bound.
    pub(crate) fn of(file: BorrowedFd<'static>) -> Option<Self> {
        let binding = Self { file };
        binding.get().is_ok().then_some(binding)
    }

    pub(crate) fn get(&self) -> Result<Option<[u8; 32]>, Refusal> {
        let mut bytes = [0; 32];
        match rustix::io::pread(self.file, &mut bytes[..], 0) {
            Ok(32) => Ok((bytes != [0; 32]).then_some(bytes)),
            // Never nothing: others would be told that nothing is bound.
            Ok(_) => Err(failed("cannot tell what is bound", Errno::INVAL)),
            Err(errno) => Err(failed("cannot tell what is bound", errno)),
        }
    }

    /// Once, so that evidence stays true that was given. The same again is no change.
    pub(crate) fn set(&self, binding: [u8; 32]) -> Result<(), Refusal> {
        match self.get()? {
            Some(bound) if bound == binding => Ok(()),
            Some(_) => Err(Refusal::BindingSet),
            None => match rustix::io::pwrite(self.file, &binding, 0) {
                Ok(32) => Ok(()),
                Ok(_) => Err(failed("cannot bind", Errno::IO)),
                Err(errno) => Err(failed("cannot bind", errno)),
            },
        }
    }
}

fn failed(what: &'static str, errno: Errno) -> Refusal {
    Refusal::Report(Fault::Failed(what, errno))
}
