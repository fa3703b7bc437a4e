//! The files that are measured: the firmware, then the kernel, and the initrd on a second thread.

use std::path::{Path, PathBuf};
use std::thread;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

use crate::cli::measure::image::{Streamed, stream};
use crate::cli::measure::parameters::Parameters;
use crate::cli::measure::subject::{NO_HASHES, Subject};
use crate::digest::{Sha256, Sha384};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::{bounded, store};
use crate::launch::direct_boot::DirectBoot;
use crate::launch::findings::{self, Finding};
use crate::launch::page::ImageChain;
use crate::launch::record::RecordError;
use crate::launch::volume::VolumeError;
use crate::launch::{Firmware, HashTable, Profile, Set};
use crate::release::measure;

#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
pub(super) struct Files {
    /// A firmware image.
    #[arg(long, visible_alias = "ovmf", value_name = "FILE")]
    pub(super) firmware: Option<PathBuf>,
    /// A kernel image.
    // What is required is not, for clap, where it conflicts with what is there.
    #[arg(long, value_name = "FILE", requires = "firmware", conflicts_with_all = ["release", "record"], value_parser = path())]
    kernel: Option<PathBuf>,
    /// An initrd.
    #[arg(long, value_name = "FILE", requires = "firmware", conflicts_with_all = ["release", "record"], value_parser = path())]
    initrd: Option<PathBuf>,
    /// The kernel's command line.
    #[arg(long, value_name = "TEXT", requires = "firmware", conflicts_with_all = ["release", "record"], allow_hyphen_values = true)]
    append: Option<String>,
    /// Whether the VMM adds the table of kernel, initrd and command line; by default, if there is a
    /// kernel. With `off` they are not in the digest.
    #[arg(long, value_enum)]
    kernel_hashes: Option<Switch>,
    /// The digest after the firmware's pages, in place of the image's own; of the image only the
    /// metadata is then used.
    #[arg(long, value_name = "HASH", requires = "firmware", conflicts_with_all = ["release", "record"], value_parser = ovmf_hash)]
    snp_ovmf_hash: Option<OvmfHash>,
    /// With --mode: look into the firmware for what checks the kernel. Without --mode this is
    /// always done.
    #[arg(long, requires = "mode", conflicts_with_all = ["release", "record"])]
    examine: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// `None` is the empty text, which sev-snp-measure takes for no hash.
#[derive(Clone, Copy, Debug)]
struct OvmfHash(Option<Sha384>);

impl Files {
    /// By the firmware's metadata alone.
    pub(super) fn bare(&self, profile: &'static Profile, set: Set, pages: bool) -> Result<Subject> {
        self.load(|firmware, hashes| {
            let (firmware, image, read) = match self.given_hash() {
                Some(given) => (stream(firmware, |_| (), |(), _| ())?.firmware, given, None),
                None => {
                    let Streamed { firmware, state, image } =
                        stream(firmware, ImageChain::new, ImageChain::add)?;
                    (firmware, state.digest(), image)
                }
            };
            let pages = read.map_or_else(|| self.pages(pages), |image| Ok(Some(image)))?;
            let hashes = hashes()?;
            let (record, warnings) = (None, Vec::new());
            Ok(Subject {
                profile,
                firmware,
                image,
                pages,
                hashes,
                set,
                record,
                igvm: None,
                warnings,
            })
        })
    }

    /// Only with firmware that checks what it boots.
    pub(super) fn examined(&self, parameters: &Parameters, pages: bool) -> Result<Subject> {
        if self.given_hash().is_some() {
            let message = "`--snp-ovmf-hash` stands for an image that nobody has looked into";
            return Err(Error::new(Kind::Usage, message)
                .hint("leave it out, or measure by metadata alone with `--mode snp`"));
        }
        let mut subject = self.bare(parameters.profile()?, parameters.set_or_one()?, pages)?;
        if subject.hashes.is_some() {
            // A missing section is the better reason, where it is one.
            subject.launch()?;
            let path = self.path()?;
            let examined = examine(path, subject.pages.as_deref())?;
            let refused = || format!("`{}` cannot be measured with what it boots", path.display());
            let (found, findings) =
                examined.ok_or(RecordError::NotExamined).context(Kind::Rejected, refused)?;
            found.require_verifier().context(Kind::Rejected, refused)?;
            subject.warnings.extend(holes(&found, &findings));
        } else if self.kernel.is_some() && self.kernel_hashes == Some(Switch::Off) {
            subject.warnings.push(NO_HASHES.to_owned());
        }
        Ok(subject)
    }

    /// Adds what the firmware's metadata does not say.
    pub(super) fn warn_about(&self, subject: &mut Subject) -> Result<()> {
        let warnings = match subject.hashes {
            None if self.kernel.is_some() && self.kernel_hashes == Some(Switch::Off) => {
                vec![NO_HASHES.to_owned()]
            }
            None => Vec::new(),
            Some(_) if !self.examine => vec![
                "the kernel is in the digest because the firmware's metadata has a section for its \
                 hash; whether the firmware checks the kernel was not examined, and Debian's generic \
                 OVMF has that section and checks nothing: see `--examine`, or `counterfoil inspect`"
                    .to_owned(),
            ],
            Some(_) => match examine(self.path()?, subject.pages.as_deref())? {
                Some((found, findings)) => match found.require_verifier() {
                    Ok(_) => holes(&found, &findings),
                    Err(error) => vec![format!("THE DIGEST BINDS NO KERNEL: {error}")],
                },
                None => vec![RecordError::NotExamined.to_string()],
            },
        };
        subject.warnings.extend(warnings);
        Ok(())
    }

    /// What the VMM does with `kernel-hashes=off`.
    pub(super) fn without_hashes(&self, mut subject: Subject) -> Result<Subject> {
        match self.kernel_hashes {
            Some(Switch::Off) => subject.hashes = None,
            Some(Switch::On) if subject.hashes.is_none() => {
                return Err(no_kernel());
            }
            _ => {}
        }
        Ok(subject)
    }

    /// The digest after the firmware's pages.
    pub(super) fn image_digest(&self) -> Result<(Firmware, Sha384)> {
        let streamed = stream(self.path()?, ImageChain::new, ImageChain::add)?;
        Ok((streamed.firmware, streamed.state.digest()))
    }

    /// Runs `firmware` on the path of the firmware while the initrd is hashed beside it. What it
    /// calls for the hash table hashes the kernel, then waits for the initrd.
    pub(super) fn load<T>(
        &self,
        firmware: impl FnOnce(&Path, &dyn Fn() -> Result<Option<HashTable>>) -> Result<T>,
    ) -> Result<T> {
        let given =
            |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        let (kernel, initrd) = (given(&self.kernel), given(&self.initrd));
        let append = self.append.as_deref().unwrap_or_default();
        if kernel.is_none() && (initrd.is_some() || !append.is_empty()) {
            return Err(Error::new(Kind::Usage, "`--initrd` and `--append` need `--kernel`"));
        }
        let (kernel, initrd) = match self.kernel_hashes {
            Some(Switch::Off) => (None, None),
            Some(Switch::On) if kernel.is_none() => return Err(no_kernel()),
            _ => (kernel, initrd),
        };
        thread::scope(|scope| {
            let initrd = initrd.map(|path| scope.spawn(move || hash(&path)));
            let initrd = std::cell::Cell::new(initrd);
            firmware(self.path()?, &|| {
                let Some(kernel) = &kernel else { return Ok(None) };
                let kernel = hash(kernel)?;
                let stopped = |_| Error::new(Kind::Environment, "hashing the initrd stopped");
                let initrd = initrd.take().map(|thread| thread.join().map_err(stopped));
                let initrd = initrd.transpose()?.transpose()?;
                let table = HashTable::new(kernel, initrd, append);
                Ok(Some(table.context(Kind::Usage, || "`--append`".to_owned())?))
            })
        })
    }

    pub(super) fn given_hash(&self) -> Option<Sha384> {
        self.snp_ovmf_hash.and_then(|OvmfHash(hash)| hash)
    }

    fn path(&self) -> Result<&Path> {
        let missing = || Error::new(Kind::Usage, "missing `--ovmf FILE`");
        self.firmware.as_deref().ok_or_else(missing)
    }

    fn pages(&self, wanted: bool) -> Result<Option<Vec<u8>>> {
        match wanted && self.given_hash().is_none() {
            true => Ok(Some(bounded::whole(self.path()?)?)),
            false => Ok(None),
        }
    }
}

/// What becomes of a kernel; `None` if there is nothing to look into. `image` is what was read already.
fn examine(path: &Path, image: Option<&[u8]>) -> Result<Option<(DirectBoot, Vec<Finding>)>> {
    let read = match image {
        Some(_) => None,
        None => Some(bounded::whole(path)?),
    };
    match findings::examine(image.or(read.as_deref()).unwrap_or_default()) {
        Ok(found) => Ok(Some(found)),
        Err(VolumeError::NoVolume) => Ok(None),
        Err(error) => {
            let message = format!("firmware `{}` cannot be examined", path.display());
            Err(Error::caused(Kind::Malformed, message, error))
        }
    }
}

fn no_kernel() -> Error {
    Error::new(Kind::Usage, "`--kernel-hashes on` needs a kernel: there is nothing else to hash")
}

fn holes(found: &DirectBoot, findings: &[Finding]) -> Vec<String> {
    let named = found.named_blobs.is_hole().then(measure::named_blobs);
    let open = findings.iter().filter(|finding| finding.is_open()).map(|finding| finding.rule);
    named.into_iter().chain(measure::further(open)).collect()
}

fn hash(path: &Path) -> Result<Sha256> {
    let digest = store::digest(bounded::open(path)?);
    Ok(digest.map_err(|error| bounded::failed(path, error))?.sha256)
}

/// Also an empty one, which is what `--kernel "$KERNEL"` gives in a script without a kernel.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

fn ovmf_hash(text: &str) -> Result<OvmfHash, String> {
    match text {
        "" => Ok(OvmfHash(None)),
        _ => {
            let parsed = text.to_ascii_lowercase().parse();
            parsed
                .map(|hash| OvmfHash(Some(hash)))
                .map_err(|error: crate::digest::ParseDigestError| error.to_string())
        }
    }
}
