//! The VMM profiles, as data.

use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui};
use crate::error::Result;
use crate::launch::Profile;
use crate::launch::igvm::{self, IgvmProfile, Order};
use crate::launch::profile::{Evidence, PROFILES};
use crate::launch::vmsa::Rdx;

pub(super) fn list(ui: &Ui) -> Result<()> {
    if ui.is_json() {
        let profiles: Vec<Value> = PROFILES.iter().map(json).collect();
        let igvm: Vec<Value> = igvm::PROFILES.iter().map(igvm_json).collect();
        return ui.json(&json!({ "profiles": profiles, "igvm_profiles": igvm }));
    }
    let mut text = String::new();
    for Profile { id, covers, evidence, sources, .. } in PROFILES {
        text += &paragraph(ui, id, covers, *evidence, sources);
    }
    text += "\nWith --igvm:\n";
    for IgvmProfile { id, covers, evidence, sources, .. } in igvm::PROFILES {
        text += &paragraph(ui, id, covers, *evidence, sources);
    }
    ui.answer(&text)
}

fn paragraph(ui: &Ui, id: &str, covers: &str, evidence: Evidence, sources: &[&str]) -> String {
    let ids = PROFILES.iter().map(|profile| profile.id);
    let ids = ids.chain(igvm::PROFILES.iter().map(|profile| profile.id));
    let wide = ids.map(str::len).max().unwrap_or(0);
    let evidence = match evidence {
        Evidence::Report => "a signed attestation report carried a digest that this gives",
        Evidence::Source => "read from source; no report seen",
        Evidence::Calculator => {
            "only another calculator's rules; the VMM's source launches in another way"
        }
    };
    let mut text = format!("{}  {covers}\n", ui.paint(Style::Bold, &format!("{id:wide$}")));
    text += &format!("{:wide$}  evidence: {evidence}\n", "");
    for source in sources {
        text += &format!("{:wide$}  source: {source}\n", "");
    }
    text
}

fn igvm_json(profile: &IgvmProfile) -> Value {
    json!({
        "id": profile.id,
        "covers": profile.covers,
        "evidence": evidence(profile.evidence),
        "sources": profile.sources,
        "page_without_data": profile.zero,
        "shared_pages": profile.shared,
        "order": match profile.order {
            Order::File => "file",
            Order::Kvm => "kvm",
        },
    })
}

fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Report => "signed-report",
        Evidence::Source => "source",
        Evidence::Calculator => "calculator",
    }
}

fn json(profile: &Profile) -> Value {
    let vcpu = &profile.vcpu;
    let hex = |value: u64| format!("{value:#x}");
    json!({
        "id": profile.id,
        "covers": profile.covers,
        "evidence": evidence(profile.evidence),
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
