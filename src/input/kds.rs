//! AMD's key service (publication 57230, "VCEK Certificate and KDS Interface Specification"): the
//! certificates and lists that a report needs. It answers whoever asks once in a while and sends others
//! away, so what it gave is kept, and it is not asked again before its time.
//!
//! Nothing that comes from there needs to be believed: it is signed, or of no use.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};

use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::http::{Client, Error as HttpError, Settings};
use crate::input::progress::Progress;
use crate::report::certificate::{Endorsement, Kind as CertificateKind};
use crate::report::describe::hex;
use crate::report::fields::Signer;
use crate::report::{Collateral, Product, Report, Tcb, Time};
use crate::whole;

/// Where AMD answers.
pub const SERVICE: &str = "https://kdsintf.amd.com";

/// The largest answer; AMD's have less than five kilobytes.
const MAX: u64 = 64 * 1024;

/// The service gives one client about one VCEK's certificate in so many seconds.
pub const PACE: u64 = 10;

/// How often a request is made that the service sends away, and the longest wait that it may ask for.
const ATTEMPTS: u32 = 6;
const LONGEST: u64 = 120;

/// For how long the certificates over the signing keys' are kept, and the lists, in seconds. The certificate
/// of a VCEK is kept for good: chip and TCB version say which it is.
const KEEP_CHAIN: u64 = 30 * 86400;
const KEEP_CRL: u64 = 86400;

/// The service, and what it gave before.
pub struct Kds<'a> {
    client: Client,
    service: String,
    cache: PathBuf,
    started: (Time, Instant),
    options: Options,
    progress: &'a dyn Progress,
}

/// How the service is asked.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether what is kept, and can change, is asked for again.
    pub refresh: bool,
    /// Seconds between two requests for a VCEK's certificate, also by other processes of this user.
    pub pace: u64,
}

impl<'a> Kds<'a> {
    /// The service at a URL, with a directory for what it gives.
    ///
    /// # Errors
    /// [`Kind::Usage`] when it has no URL.
    pub fn new(
        service: &str,
        cache: &Path,
        now: Time,
        options: Options,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let service = service.trim_end_matches('/').to_owned();
        if !service.starts_with("https://") && !service.starts_with("http://") {
            let message = format!("`{service}` is no url of a key service");
            return Err(Error::new(Kind::Usage, message).hint(format!("AMD's is {SERVICE}")));
        }
        // Each service has what it gave for itself: one that is there for tests gives nothing to others.
        let name = Sha256::of(&service).to_string();
        let cache = cache.join("collateral").join(&name[..16]);
        let settings = Settings { attempts: 1, ..Settings::default() };
        let client = Client::new(&settings).context(Kind::Environment, || service.clone())?;
        Ok(Self { client, service, cache, started: (now, Instant::now()), options, progress })
    }

    /// All that a report needs. A VLEK's certificate is the operator's to give: it comes with the evidence.
    ///
    /// # Errors
    /// [`Kind::CannotDecide`] when the service knows no such chip; [`Kind::Environment`] when it does not
    /// answer.
    pub fn collateral(
        &self,
        report: &Report,
        product: Product,
        signer: Signer,
    ) -> Result<Collateral> {
        let mut found = self.chain(product, signer)?;
        if signer == Signer::Vcek {
            let path = vcek(report, product)?;
            let chip = report.chip_id();
            let reported = Tcb::of(product, report.reported_tcb());
            // What is kept for good is of this chip and of this version.
            let is = |found: &Collateral| match found.certificates.as_slice() {
                [one] => one.endorsement().is_ok_and(|of| {
                    let fmc = if product == Product::Turin { of.fmc } else { None };
                    let Endorsement { bootloader, tee, snp, microcode, .. } = of;
                    of.hw_id.as_deref() == chip.get(..product.chip_id_size())
                        && reported == Tcb { fmc, bootloader, tee, snp, microcode }
                        && found.crls.is_empty()
                }),
                _ => false,
            };
            let certificate = self.get(&path, None, "the certificate of the chip's key", is)?;
            merge(&mut found, &certificate, &path)?;
        }
        Ok(found)
    }

    /// What every report of a product needs.
    ///
    /// # Errors
    /// As [`Kds::collateral`].
    pub fn chain(&self, product: Product, signer: Signer) -> Result<Collateral> {
        let kind = match signer {
            Signer::Vcek => "vcek",
            Signer::Vlek => "vlek",
        };
        let mut found = Collateral::default();
        let has = |found: &Collateral, kind| found.of_kind(|of| of == kind).next().is_some();
        let chain = |found: &Collateral| {
            has(found, CertificateKind::Ask(signer)) && has(found, CertificateKind::Ark)
        };
        let path = format!("{kind}/v1/{product}/cert_chain");
        let certificates = self.get(&path, Some(KEEP_CHAIN), "the chain of the product", chain)?;
        merge(&mut found, &certificates, &path)?;
        let list = |found: &Collateral| found.crls.len() == 1 && found.certificates.is_empty();
        let path = format!("{kind}/v1/{product}/crl");
        let crl = self.get(&path, Some(KEEP_CRL), "the list of revoked certificates", list)?;
        merge(&mut found, &crl, &path)?;
        found.fetched = Some(self.started.0);
        Ok(found)
    }

    /// What is at `path`, from what is kept if it is not older than `keep`, and if it is `what` is meant.
    fn get(
        &self,
        path: &str,
        keep: Option<u64>,
        what: &str,
        is: impl Fn(&Collateral) -> bool,
    ) -> Result<Collateral> {
        let read = |bytes: Vec<u8>| Collateral::read(&bytes).ok().filter(&is);
        let kept = self.cache.join(path.replace(['?', '&'], "/"));
        if let Some(found) = self.kept(&kept, keep).and_then(read) {
            self.progress.detail(&format!("`{path}` is kept from before"));
            return Ok(found);
        }
        let url = format!("{}/{path}", self.service);
        // Only certificates of chips are counted by the service.
        let bytes = self.fetch(&url, keep.is_none())?;
        let Some(found) = read(bytes.clone()) else {
            let message = format!("what `{url}` answers is not {what}");
            return Err(Error::new(Kind::Environment, message)
                .hint("see whether something stands between this machine and the service"));
        };
        self.keep(&kept, &bytes)?;
        Ok(found)
    }

    fn kept(&self, path: &Path, keep: Option<u64>) -> Option<Vec<u8>> {
        let lasting = keep.is_none();
        if self.options.refresh && !lasting {
            return None;
        }
        let fresh =
            lasting || self.age(path).is_some_and(|age| keep.is_some_and(|keep| age <= keep));
        fresh.then(|| fs::read(path).ok()).flatten()
    }

    /// How many seconds ago a file was written; none for one that is not there or from the future.
    fn age(&self, path: &Path) -> Option<u64> {
        let written = fs::metadata(path).ok()?.modified().ok()?;
        let (now, since) = self.started;
        (now.as_unix() + since.elapsed().as_secs())
            .checked_sub(written.duration_since(UNIX_EPOCH).ok()?.as_secs())
    }

    fn keep(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let failed = || format!("failed writing `{}`", path.display());
        let parent = path.parent().unwrap_or(&self.cache);
        fs::create_dir_all(parent).context(Kind::Environment, failed)?;
        whole::write(path, bytes)
    }

    /// Asks the service, and again when it says so.
    fn fetch(&self, url: &str, paced: bool) -> Result<Vec<u8>> {
        let mut attempt = 1;
        loop {
            let answer = {
                let _turn = if paced { Some(self.turn()?) } else { None };
                self.progress.detail(&format!("asking for `{url}`"));
                self.client.get_small(url, MAX)
            };
            match answer {
                Ok(bytes) => return Ok(bytes),
                Err(HttpError::Refused { status: 429 | 500..=599, retry_after, .. })
                    if attempt < ATTEMPTS =>
                {
                    let seconds = retry_after.unwrap_or(self.options.pace).min(LONGEST);
                    self.progress.note(&format!(
                        "the key service asks to wait: trying again in {seconds} seconds ({attempt} of {ATTEMPTS})"
                    ));
                    thread::sleep(Duration::from_secs(seconds));
                    attempt += 1;
                }
                Err(error @ HttpError::NotFound { .. }) => {
                    let message =
                        "the key service knows no such chip, or not with this TCB version";
                    return Err(Error::caused(Kind::CannotDecide, message, error)
                        .hint("see that the report is whole, and of this product"));
                }
                Err(error) => {
                    let message = "the key service gives nothing";
                    return Err(Error::caused(Kind::Environment, message, error).hint(
                        "try again later, or have somebody give the certificates and use `--from DIR`",
                    ));
                }
            }
        }
    }

    /// Waits for this process's turn, of all that ask this service for certificates of VCEKs. The next one's
    /// comes when the file is closed, and so much later as the service wants.
    fn turn(&self) -> Result<File> {
        let path = self.cache.join("last-request");
        let failed = || format!("failed locking `{}`", path.display());
        fs::create_dir_all(&self.cache).context(Kind::Environment, failed)?;
        let first = !path.exists();
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(&path)
            .context(Kind::Environment, failed)?;
        flock(&file, FlockOperation::LockExclusive).context(Kind::Environment, failed)?;
        let wait = self.age(&path).and_then(|age| self.options.pace.checked_sub(age)).unwrap_or(0);
        if !first && wait > 0 {
            self.progress.note(&format!("waiting {wait} seconds: the key service is asked slowly"));
            thread::sleep(Duration::from_secs(wait));
        }
        // What is written does not matter, that it is now does.
        file.set_len(0).and_then(|()| file.write_all(b"\n")).context(Kind::Environment, failed)?;
        Ok(file)
    }
}

/// The path of a VCEK's certificate (publication 57230, section 3.1): the chip, then the TCB version, of
/// which Turin has one part more.
fn vcek(report: &Report, product: Product) -> Result<String> {
    if !report.has_chip_id() {
        let message = "the report does not say which chip it is from, so that its certificate cannot be asked for";
        return Err(Error::new(Kind::CannotDecide, message)
            .hint("have the operator give it, and use `--from DIR`"));
    }
    let chip = report.chip_id();
    let chip = hex(chip.get(..product.chip_id_size()).unwrap_or(&chip));
    let Tcb { fmc, bootloader, tee, snp, microcode } = Tcb::of(product, report.reported_tcb());
    let fmc = fmc.map_or(String::new(), |fmc| format!("fmcSPL={fmc:02}&"));
    Ok(format!(
        "vcek/v1/{product}/{chip}?{fmc}blSPL={bootloader:02}&teeSPL={tee:02}&snpSPL={snp:02}&ucodeSPL={microcode:02}"
    ))
}

fn merge(into: &mut Collateral, found: &Collateral, path: &str) -> Result<()> {
    into.merge(found).context(Kind::Environment, || format!("`{path}` of the key service"))
}
