//! The plan: the one measured file that tells PID 1 what to do.
//!
//! It is text. The first line is [`HEADER`]; each further line is one directive: a keyword, or a
//! keyword, one space, and the rest of the line verbatim. Every line ends in `\n`. There are no
//! comments, no blank lines, no quoting and no escapes, so a plan has exactly one spelling, and
//! what a reader sees is what PID 1 does.
//!
//! | in this order | how often | |
//! |---|---|---|
//! | `hostname NAME` | at most once | the kernel's host name |
//! | `module PATH` | any number | loaded in the order given; only one whose device is absent may fail |
//! | `sysctl KEY VALUE` | any number | a key under `/proc/sys`, dots for slashes |
//! | `latch-modules` | at most once | no module can be loaded from here on, by anyone |
//! | `volume NAME PATH` | any number, each name once | the volume that the command line binds is mounted there |
//! | `scratch NAME PATH` | any number, each name once | an empty file system, with a key that is made now, on the disk of this name |
//! | `network dhcp` | at most once | without it, the loopback interface only |
//! | `root read-only` | at most once | the root file system is remounted |
//! | `evidence PATH` | at most once | the program that asks for attestation reports, started before the workload and again whenever it ends |
//! | `evidence-http PORT` | at most once, after `evidence` | the TCP port where anyone may ask it |
//! | `evidence-vsock PORT` | at most once, after `evidence` | the vsock port where anyone may ask it |
//! | `user UID GID` | once | whom the workload runs as |
//! | `workdir PATH` | at most once | `/` if absent |
//! | `output console\|discard` | once | the workload's stdout and stderr; the host reads the console |
//! | `exec PATH` | once | the program |
//! | `arg VALUE` | once or more | the argument vector, `argv[0]` included |
//! | `env KEY=VALUE` | any number, each key once | the whole environment |
//! | `on-exit poweroff\|reboot\|panic\|restart` | once | what follows the end of the workload |
//! | `grace SECONDS` | at most once | from SIGTERM to SIGKILL; 10 if absent |
//!
//! The order is the order in which PID 1 acts. What decides how much the workload may do, or what
//! leaves the guest, has no default and must be said.

mod error;
mod value;

use core::fmt;

pub use error::{Fault, PlanError};
pub use value::{
    AbsolutePath, Hostname, Id, Port, Seconds, SysctlKey, Text, ValueError, Variable, VsockPort,
};

use crate::volume::VolumeName;

/// Where PID 1 looks for its plan.
pub const PATH: &str = "/etc/counterfoil/plan";

/// The first line of a plan. The number changes when an older PID 1 would misread a newer plan.
pub const HEADER: &str = "counterfoil-plan 1";

/// The longest plan, in bytes: PID 1 allocates nothing and holds the plan in a buffer of this size.
pub const MAX_BYTES: usize = 64 * 1024;

/// The most `arg` lines, and the most `env` lines, of one plan.
pub const MAX_STRINGS: usize = 256;

/// How long a workload may take to end after SIGTERM, if the plan does not say.
pub const DEFAULT_GRACE: Seconds = Seconds::from_u16(10);

/// The place of `evidence` in a plan, which its ports stand behind.
const EVIDENCE: u8 = 9;

/// One line of a plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the table at the top of the module says what each one means")]
pub enum Directive<'a> {
    Hostname(Hostname<'a>),
    Module(AbsolutePath<'a>),
    Sysctl { key: SysctlKey<'a>, value: Text<'a> },
    LatchModules,
    Volume { name: VolumeName<'a>, path: AbsolutePath<'a> },
    Scratch { name: VolumeName<'a>, path: AbsolutePath<'a> },
    NetworkDhcp,
    RootReadOnly,
    Evidence(AbsolutePath<'a>),
    EvidenceHttp(Port),
    EvidenceVsock(VsockPort),
    User { uid: Id, gid: Id },
    Workdir(AbsolutePath<'a>),
    Output(Output),
    Exec(AbsolutePath<'a>),
    Arg(Text<'a>),
    Env(Variable<'a>),
    OnExit(OnExit),
    Grace(Seconds),
}

/// Where the workload's standard output and standard error go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Output {
    /// The console, which the host reads: nothing confidential may be printed.
    Console,
    /// `/dev/null`.
    Discard,
}

/// What PID 1 does when the workload has ended, after saying on the console how it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnExit {
    /// Power off, whatever the status: a guest that has nothing to run is over. The host learns
    /// the status from the console alone, since a power-off carries none.
    Poweroff,
    /// Start the machine again. Under SEV-SNP most hypervisors stop the guest instead.
    Reboot,
    /// End PID 1, so that the kernel panics: for those who watch for a guest that died. What a
    /// panic does is the kernel's `panic=`, on the measured command line.
    Panic,
    /// Start the workload again, one second later.
    Restart,
}

impl<'a> Directive<'a> {
    /// Reads one line, without its `\n`.
    ///
    /// # Errors
    /// If the keyword is unknown or what follows it is not a value of its kind.
    pub fn parse(line: &'a str) -> Result<Self, Fault> {
        let (keyword, rest) = match line.split_once(' ') {
            Some((keyword, rest)) => (keyword, Some(rest)),
            None => (line, None),
        };
        let value = || rest.ok_or(Fault::MissingValue);
        Ok(match keyword {
            "hostname" => Self::Hostname(Hostname::new(value()?)?),
            "module" => Self::Module(AbsolutePath::new(value()?)?),
            "sysctl" => {
                let (key, value) = value()?.split_once(' ').ok_or(Fault::MissingValue)?;
                Self::Sysctl { key: SysctlKey::new(key)?, value: Text::new(value)? }
            }
            "latch-modules" if rest.is_none() => Self::LatchModules,
            "latch-modules" => return Err(Fault::UnexpectedValue),
            "volume" | "scratch" => {
                let (name, path) = value()?.split_once(' ').ok_or(Fault::MissingValue)?;
                let name = VolumeName::new(name).map_err(|_| ValueError::VolumeName)?;
                let path = AbsolutePath::new(path)?;
                match keyword {
                    "volume" => Self::Volume { name, path },
                    _ => Self::Scratch { name, path },
                }
            }
            "network" => match value()? {
                "dhcp" => Self::NetworkDhcp,
                _ => return Err(Fault::UnknownChoice),
            },
            "root" => match value()? {
                "read-only" => Self::RootReadOnly,
                _ => return Err(Fault::UnknownChoice),
            },
            "evidence" => Self::Evidence(AbsolutePath::new(value()?)?),
            "evidence-http" => Self::EvidenceHttp(Port::parse(value()?)?),
            "evidence-vsock" => Self::EvidenceVsock(VsockPort::parse(value()?)?),
            "user" => {
                let (uid, gid) = value()?.split_once(' ').ok_or(Fault::MissingValue)?;
                Self::User { uid: Id::parse(uid)?, gid: Id::parse(gid)? }
            }
            "workdir" => Self::Workdir(AbsolutePath::new(value()?)?),
            "output" => Self::Output(match value()? {
                "console" => Output::Console,
                "discard" => Output::Discard,
                _ => return Err(Fault::UnknownChoice),
            }),
            "exec" => Self::Exec(AbsolutePath::new(value()?)?),
            "arg" => Self::Arg(Text::new(value()?)?),
            "env" => Self::Env(Variable::new(value()?)?),
            "on-exit" => Self::OnExit(match value()? {
                "poweroff" => OnExit::Poweroff,
                "reboot" => OnExit::Reboot,
                "panic" => OnExit::Panic,
                "restart" => OnExit::Restart,
                _ => return Err(Fault::UnknownChoice),
            }),
            "grace" => Self::Grace(Seconds::parse(value()?)?),
            _ => return Err(Fault::UnknownKeyword),
        })
    }

    /// The directive's place in a plan, and whether others of its kind may stand beside it.
    fn place(&self) -> (u8, bool) {
        match self {
            Self::Hostname(_) => (1, false),
            Self::Module(_) => (2, true),
            Self::Sysctl { .. } => (3, true),
            Self::LatchModules => (4, false),
            Self::Volume { .. } => (5, true),
            Self::Scratch { .. } => (6, true),
            Self::NetworkDhcp => (7, false),
            Self::RootReadOnly => (8, false),
            Self::Evidence(_) => (EVIDENCE, false),
            Self::EvidenceHttp(_) => (10, false),
            Self::EvidenceVsock(_) => (11, false),
            Self::User { .. } => (12, false),
            Self::Workdir(_) => (13, false),
            Self::Output(_) => (14, false),
            Self::Exec(_) => (15, false),
            Self::Arg(_) => (16, true),
            Self::Env(_) => (17, true),
            Self::OnExit(_) => (18, false),
            Self::Grace(_) => (19, false),
        }
    }
}

impl fmt::Display for Directive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hostname(name) => write!(f, "hostname {name}"),
            Self::Module(path) => write!(f, "module {path}"),
            Self::Sysctl { key, value } => write!(f, "sysctl {key} {value}"),
            Self::LatchModules => f.write_str("latch-modules"),
            Self::Volume { name, path } => write!(f, "volume {name} {path}"),
            Self::Scratch { name, path } => write!(f, "scratch {name} {path}"),
            Self::NetworkDhcp => f.write_str("network dhcp"),
            Self::RootReadOnly => f.write_str("root read-only"),
            Self::Evidence(path) => write!(f, "evidence {path}"),
            Self::EvidenceHttp(port) => write!(f, "evidence-http {port}"),
            Self::EvidenceVsock(port) => write!(f, "evidence-vsock {port}"),
            Self::User { uid, gid } => write!(f, "user {uid} {gid}"),
            Self::Workdir(path) => write!(f, "workdir {path}"),
            Self::Output(Output::Console) => f.write_str("output console"),
            Self::Output(Output::Discard) => f.write_str("output discard"),
            Self::Exec(path) => write!(f, "exec {path}"),
            Self::Arg(text) => write!(f, "arg {text}"),
            Self::Env(variable) => write!(f, "env {variable}"),
            Self::OnExit(OnExit::Poweroff) => f.write_str("on-exit poweroff"),
            Self::OnExit(OnExit::Reboot) => f.write_str("on-exit reboot"),
            Self::OnExit(OnExit::Panic) => f.write_str("on-exit panic"),
            Self::OnExit(OnExit::Restart) => f.write_str("on-exit restart"),
            Self::Grace(seconds) => write!(f, "grace {seconds}"),
        }
    }
}

/// Reads a plan line by line, and at its end checks that nothing is missing. Ends at the first
/// error.
pub fn parse(text: &str) -> Lines<'_> {
    Lines { text, rest: text, state: State::Header, line: 0, rules: Rules::default() }
}

/// Writes a plan, under the same rules as [`parse`] reads one.
///
/// # Errors
/// If the directives do not make a plan; the error's line is that of the plan as it would be.
/// What was written to `out` by then is of no use.
pub fn write(directives: &[Directive<'_>], out: &mut impl fmt::Write) -> Result<(), PlanError> {
    let at = |line| move |fault| PlanError { line, fault };
    let mut rules = Rules::default();
    let mut out = Bounded { out, room: MAX_BYTES };
    fmt::write(&mut out, format_args!("{HEADER}\n")).map_err(|_| at(1)(Fault::TooLong))?;
    for (index, directive) in directives.iter().enumerate() {
        let at = at(index + 2);
        rules.admit(directive).map_err(at)?;
        let same = |earlier: &Directive<'_>| match (earlier, directive) {
            (Directive::Env(earlier), Directive::Env(variable)) => earlier.key() == variable.key(),
            // One disk is not both.
            (
                Directive::Volume { name: earlier, .. } | Directive::Scratch { name: earlier, .. },
                Directive::Volume { name, .. } | Directive::Scratch { name, .. },
            ) => earlier == name,
            _ => false,
        };
        if directives[..index].iter().any(same) {
            return Err(at(Fault::Duplicate));
        }
        fmt::write(&mut out, format_args!("{directive}\n")).map_err(|_| at(Fault::TooLong))?;
    }
    rules.finish().map_err(at(directives.len() + 2))
}

/// The iterator that [`parse`] returns.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    text: &'a str,
    rest: &'a str,
    state: State,
    line: usize,
    rules: Rules,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Header,
    Directives,
    Over,
}

impl<'a> Lines<'a> {
    fn line(&mut self) -> Result<Option<&'a str>, Fault> {
        self.line += 1;
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (line, rest) = self.rest.split_once('\n').ok_or(Fault::Unterminated)?;
        self.rest = rest;
        Ok(Some(line))
    }

    fn step(&mut self) -> Result<Option<Directive<'a>>, Fault> {
        if self.state == State::Header {
            if self.text.len() > MAX_BYTES {
                self.line = 1;
                return Err(Fault::TooLong);
            }
            if self.line()? != Some(HEADER) {
                return Err(Fault::Header);
            }
            self.state = State::Directives;
        }
        let Some(line) = self.line()? else {
            self.state = State::Over;
            self.rules.finish()?;
            return Ok(None);
        };
        let directive = Directive::parse(line)?;
        self.rules.admit(&directive)?;
        match directive {
            Directive::Env(variable) => self.check_is_new("env ", '=', variable.key())?,
            Directive::Volume { name, .. } | Directive::Scratch { name, .. } => {
                self.check_is_new("volume ", ' ', name.as_str())?;
                self.check_is_new("scratch ", ' ', name.as_str())?;
            }
            _ => {}
        }
        Ok(Some(directive))
    }

    /// Walks the lines that came before: quadratic in at most [`MAX_STRINGS`] lines, and needs no
    /// memory.
    fn check_is_new(&self, keyword: &str, end: char, key: &str) -> Result<(), Fault> {
        let earlier = self.text.split_terminator('\n').take(self.line - 1);
        let mut keys = earlier.filter_map(|line| line.strip_prefix(keyword)?.split_once(end));
        if keys.any(|(earlier, _)| earlier == key) { Err(Fault::Duplicate) } else { Ok(()) }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Directive<'a>, PlanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Over {
            return None;
        }
        self.step()
            .map_err(|fault| {
                self.state = State::Over;
                PlanError { line: self.line, fault }
            })
            .transpose()
    }
}

/// A whole plan that is known to be right, so that PID 1 never finds a fault half way through.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the table at the top of the module says what each one means")]
pub struct Plan<'a> {
    text: &'a str,
    pub hostname: Option<Hostname<'a>>,
    pub latch_modules: bool,
    pub network_dhcp: bool,
    pub root_read_only: bool,
    pub evidence: Option<Evidence<'a>>,
    pub uid: Id,
    pub gid: Id,
    pub workdir: AbsolutePath<'a>,
    pub output: Output,
    pub exec: AbsolutePath<'a>,
    pub on_exit: OnExit,
    pub grace: Seconds,
}

/// The evidence agent, and where it is asked beside its socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the table at the top of the module says what each one means")]
pub struct Evidence<'a> {
    pub program: AbsolutePath<'a>,
    pub http: Option<Port>,
    pub vsock: Option<VsockPort>,
}

impl<'a> Plan<'a> {
    /// Reads and checks all of a plan.
    ///
    /// # Errors
    /// At the first line that is not right, or at the end if something is missing.
    pub fn parse(text: &'a str) -> Result<Self, PlanError> {
        let mut plan = Self {
            text,
            hostname: None,
            latch_modules: false,
            network_dhcp: false,
            root_read_only: false,
            evidence: None,
            uid: Id::NOBODY,
            gid: Id::NOBODY,
            workdir: AbsolutePath::ROOT,
            output: Output::Discard,
            exec: AbsolutePath::ROOT,
            on_exit: OnExit::Panic,
            grace: DEFAULT_GRACE,
        };
        for directive in parse(text) {
            match directive? {
                Directive::Hostname(name) => plan.hostname = Some(name),
                Directive::LatchModules => plan.latch_modules = true,
                Directive::NetworkDhcp => plan.network_dhcp = true,
                Directive::RootReadOnly => plan.root_read_only = true,
                Directive::Evidence(program) => {
                    plan.evidence = Some(Evidence { program, http: None, vsock: None });
                }
                // Both stand after the one above, or the plan is refused.
                Directive::EvidenceHttp(port) => {
                    plan.evidence = plan.evidence.map(|it| Evidence { http: Some(port), ..it });
                }
                Directive::EvidenceVsock(port) => {
                    plan.evidence = plan.evidence.map(|it| Evidence { vsock: Some(port), ..it });
                }
                Directive::User { uid, gid } => (plan.uid, plan.gid) = (uid, gid),
                Directive::Workdir(path) => plan.workdir = path,
                Directive::Output(output) => plan.output = output,
                Directive::Exec(path) => plan.exec = path,
                Directive::OnExit(on_exit) => plan.on_exit = on_exit,
                Directive::Grace(seconds) => plan.grace = seconds,
                Directive::Module(_)
                | Directive::Sysctl { .. }
                | Directive::Volume { .. }
                | Directive::Scratch { .. }
                | Directive::Arg(_)
                | Directive::Env(_) => {}
            }
        }
        Ok(plan)
    }

    /// The modules, in load order.
    pub fn modules(&self) -> impl Iterator<Item = AbsolutePath<'a>> {
        self.directives().filter_map(|directive| match directive {
            Directive::Module(path) => Some(path),
            _ => None,
        })
    }

    /// The sysctls, in order.
    pub fn sysctls(&self) -> impl Iterator<Item = (SysctlKey<'a>, Text<'a>)> {
        self.directives().filter_map(|directive| match directive {
            Directive::Sysctl { key, value } => Some((key, value)),
            _ => None,
        })
    }

    /// The volumes, in order: the name of each, and where it is mounted.
    pub fn volumes(&self) -> impl Iterator<Item = (VolumeName<'a>, AbsolutePath<'a>)> {
        self.directives().filter_map(|directive| match directive {
            Directive::Volume { name, path } => Some((name, path)),
            _ => None,
        })
    }

    /// The scratch disks, in order: the name of each, and where it is mounted.
    pub fn scratch(&self) -> impl Iterator<Item = (VolumeName<'a>, AbsolutePath<'a>)> {
        self.directives().filter_map(|directive| match directive {
            Directive::Scratch { name, path } => Some((name, path)),
            _ => None,
        })
    }

    /// The argument vector, `argv[0]` first.
    pub fn args(&self) -> impl Iterator<Item = Text<'a>> {
        self.directives().filter_map(|directive| match directive {
            Directive::Arg(text) => Some(text),
            _ => None,
        })
    }

    /// The environment.
    pub fn env(&self) -> impl Iterator<Item = Variable<'a>> {
        self.directives().filter_map(|directive| match directive {
            Directive::Env(variable) => Some(variable),
            _ => None,
        })
    }

    /// Reads the lines again; every one was read once already.
    fn directives(&self) -> impl Iterator<Item = Directive<'a>> {
        self.text.split_terminator('\n').skip(1).filter_map(|line| Directive::parse(line).ok())
    }
}

/// The rules between lines, but for one: that each `env` key stands once is for [`parse`] and
/// [`write`] to check, which can look back.
#[derive(Clone, Debug, Default)]
struct Rules {
    last: u8,
    args: usize,
    envs: usize,
    seen: u32,
}

impl Rules {
    fn admit(&mut self, directive: &Directive<'_>) -> Result<(), Fault> {
        let (place, repeats) = directive.place();
        if place < self.last {
            return Err(Fault::Order);
        }
        if place == self.last && !repeats {
            return Err(Fault::Duplicate);
        }
        match directive {
            Directive::EvidenceHttp(_) | Directive::EvidenceVsock(_)
                if self.seen & 1 << EVIDENCE == 0 =>
            {
                return Err(Fault::Missing("evidence"));
            }
            Directive::Arg(_) => self.args += 1,
            Directive::Env(_) => self.envs += 1,
            _ => {}
        }
        if self.args > MAX_STRINGS || self.envs > MAX_STRINGS {
            return Err(Fault::TooMany);
        }
        self.last = place;
        self.seen |= 1 << place;
        Ok(())
    }

    fn finish(&self) -> Result<(), Fault> {
        const REQUIRED: [(u8, &str); 5] =
            [(12, "user"), (14, "output"), (15, "exec"), (16, "arg"), (18, "on-exit")];
        match REQUIRED.iter().find(|(place, _)| self.seen & (1 << place) == 0) {
            Some((_, keyword)) => Err(Fault::Missing(keyword)),
            None => Ok(()),
        }
    }
}

/// Refuses what would make a plan longer than PID 1 reads.
struct Bounded<'w, W> {
    out: &'w mut W,
    room: usize,
}

impl<W: fmt::Write> fmt::Write for Bounded<'_, W> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.room = self.room.checked_sub(s.len()).ok_or(fmt::Error)?;
        self.out.write_str(s)
    }
}

#[cfg(test)]
mod tests;
