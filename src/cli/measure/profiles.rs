//! The VMM profiles, as data.

use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui};
use crate::error::Result;
use crate::launch::Profile;
use crate::launch::profile::{Evidence, PROFILES};
use crate::launch::vmsa::Rdx;

pub(super) fn list(ui: &Ui) -> Result<()> {
    if ui.is_json() {
        let profiles: Vec<Value> = PROFILES.iter().map(json).collect();
        return ui.json(&json!({ "profiles": profiles }));
    }
    let wide = PROFILES.iter().map(|profile| profile.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Profile { id, covers, evidence, sources, .. } in PROFILES {
        let evidence = match evidence {
            Evidence::Report => "a signed attestation report carried a digest that this gives",
            Evidence::Source => "read from source; no report seen",
            Evidence::Calculator => {
                "only another calculator's rules; the VMM's source launches in another way"
            }
        };
        text += &format!("{}  {covers}\n", ui.paint(Style::Bold, &format!("{id:wide$}")));
        text += &format!("{:wide$}  evidence: {evidence}\n", "");
        for source in *sources {
            text += &format!("{:wide$}  source: {source}\n", "");
        }
    }
    ui.answer(&text)
}

fn json(profile: &Profile) -> Value {
    let vcpu = &profile.vcpu;
    let hex = |value: u64| format!("{value:#x}");
    json!({
        "id": profile.id,
        "covers": profile.covers,
        "evidence": match profile.evidence {
            Evidence::Report => "signed-report",
            Evidence::Source => "source",
            Evidence::Calculator => "calculator",
        },
        "sources": profile.sources,
        "sec_mem": profile.sec_mem,
        "cpuid_last": profile.cpuid_last,
        "vmsa": {
            "cs_attributes_first": hex(vcpu.cs_bsp.into()),
            "cs_attributes_others": hex(vcpu.cs_ap.into()),
            "ss_attributes": hex(vcpu.ss.into()),
            "tr_attributes": hex(vcpu.tr.into()),
            "rdx": match vcpu.rdx {
                Rdx::Fixed(value) => hex(value),
                Rdx::Signature => "signature".to_owned(),
            },
            "g_pat": hex(vcpu.g_pat),
            "mxcsr": hex(vcpu.mxcsr.into()),
            "fcw": hex(vcpu.fcw.into()),
        },
    })
}
