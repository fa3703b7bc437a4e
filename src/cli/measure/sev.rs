//! The modes `sev` and `seves`: guests without SNP, as sev-snp-measure measures them.

use crate::cli::measure::output::{self, Plain};
use crate::cli::measure::{Measure, Mode, image};
use crate::cli::ui::Ui;
use crate::error::{Context as _, Error, Kind, Result};
use crate::launch::sev::{self, SevLaunch};

impl Measure {
    pub(super) fn sev(&self, ui: &Ui) -> Result<()> {
        if self.files.given_hash().is_some() {
            let message =
                "`--snp-ovmf-hash` is for `--mode snp`: without SNP the image is hashed whole";
            return Err(Error::new(Kind::Usage, message));
        }
        if self.trace {
            let message = "`--trace` is for SNP: without it there are no launch updates by page";
            return Err(Error::new(Kind::Usage, message));
        }
        let es = self.mode == Some(Mode::SevEs);
        if self.dump_vmsa.is_some() && !es {
            let message = "`--dump-vmsa` is for SEV-ES and SNP: without them there is no VMSA";
            return Err(Error::new(Kind::Usage, message));
        }
        let profile = self.parameters.profile()?;
        let one = if es { Some(self.parameters.strict_one()?) } else { None };
        let refused = || "the firmware cannot be measured with what it boots".to_owned();
        let (firmware, mut launch) = self.files.load(|path, hashes| {
            let start = |_| SevLaunch::default();
            let image::Streamed { firmware, state: mut launch, .. } =
                image::stream_any(path, start, SevLaunch::add_image)?;
            if let Some(hashes) = hashes()? {
                launch.add_hashes(&firmware, &hashes).context(Kind::Malformed, refused)?;
            }
            Ok((firmware, launch))
        })?;
        if let Some((vcpus, signature)) = one {
            let pages = || {
                sev::vmsas(profile, &firmware, vcpus, signature).context(Kind::Malformed, refused)
            };
            pages()?.for_each(|page| launch.add_vcpu(&page));
            if let Some(directory) = &self.dump_vmsa {
                output::dump_vmsas(ui, directory, pages()?)?;
            }
        }
        let plain = Plain {
            mode: if es { "SEV_ES" } else { "SEV" },
            profile,
            encoding: self.output_format,
        };
        plain.print(ui, &launch.digest().0)
    }
}
