//! The VMM profiles, as data.

use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui};
use crate::error::Result;
use crate::launch::igvm::{self, IgvmProfile, Order};
use crate::launch::profile::{Evidence, PROFILES};
use crate::launch::vmsa::{BSP_EIP, Rdx, VMSA_GPA, fields};
use crate::launch::{Profile, SevFeatures, Signature};

pub(super) fn list(ui: &Ui) -> Result<()> {
    if ui.is_json() {
        let profiles: Vec<Value> = PROFILES.iter().map(json).collect();
        let igvm: Vec<Value> = igvm::PROFILES.iter().map(igvm_json).collect();
        return ui.json(&json!({ "profiles": profiles, "igvm_profiles": igvm }));
    }
    let mut text = String::new();
    for profile in PROFILES {
        let Profile { id, covers, evidence, sources, .. } = profile;
        text += &paragraph(ui, id, covers, *evidence, &rules(profile), sources);
    }
    text += "\nWith --igvm:\n";
    for profile in igvm::PROFILES {
        let IgvmProfile { id, covers, evidence, sources, .. } = profile;
        text += &paragraph(ui, id, covers, *evidence, &igvm_rules(profile), sources);
    }
    ui.answer(&text)
}

/// What tells one profile from another: when, which pages in which order, and the vCPUs.
fn rules(profile: &Profile) -> Vec<String> {
    let Profile { since, until, as_of, sec_mem, cpuid_last, vcpu, .. } = profile;
    let cpuid = if *cpuid_last { "after all others" } else { "in its place" };
    let rdx = match vcpu.rdx {
        Rdx::Fixed(value) => format!("{value:#x}"),
        Rdx::Signature => "the CPU's signature".to_owned(),
    };
    let (since, until) = (since.unwrap_or("?"), until.unwrap_or("today"));
    vec![
        format!("time: {since} to {until}, as of {as_of}"),
        format!(
            "pages: the image, then the metadata in the file's order, its memory as {sec_mem}, the \
             CPUID page {cpuid}; VMSAs last, at {VMSA_GPA:#x}"
        ),
        format!(
            "VMSA: cs {:#x} first, {:#x} others; ss {:#x}; tr {:#x}; rdx {rdx}; g_pat {:#x}; mxcsr \
             {:#x}; fcw {:#x}",
            vcpu.cs_bsp, vcpu.cs_ap, vcpu.ss, vcpu.tr, vcpu.g_pat, vcpu.mxcsr, vcpu.fcw
        ),
    ]
}

fn igvm_rules(profile: &IgvmProfile) -> Vec<String> {
    let shared = if profile.shared { "added" } else { "left out" };
    let order = match profile.order {
        Order::File => "as the file has them",
        Order::Kvm => "runs held back until the next one, VMSAs last",
    };
    vec![format!("pages: without data as {}; shared with the host {shared}; {order}", profile.zero)]
}

fn paragraph(
    ui: &Ui,
    id: &str,
    covers: &str,
    evidence: Evidence,
    rules: &[String],
    sources: &[&str],
) -> String {
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
    for rule in rules {
        text += &format!("{:wide$}  {rule}\n", "");
    }
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
        "since": profile.since,
        "until": profile.until,
        "as_of": profile.as_of,
        "evidence": evidence(profile.evidence),
        "sources": profile.sources,
        "sec_mem": profile.sec_mem,
        "cpuid_last": profile.cpuid_last,
        "vmsa_gpa": hex(VMSA_GPA),
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
        // Every field that is not zero, with the signature and the features left out.
        "first_vcpu": fields(&vcpu.page(BSP_EIP, Signature(0), SevFeatures(0)))
            .into_iter()
            .map(|field| json!({ "offset": hex(field.offset as u64), "name": field.name, "value": hex(field.value) }))
            .collect::<Vec<_>>(),
    })
}
