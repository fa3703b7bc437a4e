//! Verdicts for people.

use serde_json::json;

use crate::cli::ui::{Style, Ui, printable_in_line};
use crate::error::Result;
use crate::published::Published;
use crate::report::reason::Class;
use crate::report::verdict::{Answer, Outcome, Root, Runs};
use crate::report::{Reason, Verdict};

use super::published::lists;

/// The answer, every check, the reasons with what to do, and what else should be known.
pub(super) fn verdict(ui: &Ui, verdict: &Verdict, published: Option<&Published>) -> Result<()> {
    let (style, word) = match verdict.verdict {
        Answer::Accepted => (Style::Green, "accepted"),
        Answer::Rejected => (Style::Red, "rejected"),
        Answer::CannotDecide => (Style::Yellow, "cannot decide"),
        Answer::Malformed => (Style::Red, "malformed"),
    };
    let mut text = ui.paint(style, word);
    if verdict.root == Root::Other {
        text += &ui.paint(Style::Yellow, ", under another root than AMD's");
    }
    match (&verdict.matched, verdict.asked.runs) {
        (Some(matched), _) => {
            let cpu = printable_in_line(matched.cpu.as_deref().unwrap_or("any CPU"));
            text += &format!(": the release, with {} vCPUs, {cpu}", matched.vcpus);
        }
        (None, Runs::Anything) => text += ", whatever runs there",
        (None, _) if verdict.report.is_none() && published.is_some() => {
            text += ": what was published of the release; no machine was asked about";
        }
        (None, _) => {}
    }
    let machine = verdict.report.is_some();
    if machine && verdict.verdict == Answer::Accepted && !verdict.asked.nonce {
        text += "; it may be a recording, as there is no nonce in it";
    }
    text += "\n\n";
    let width = verdict.checks.iter().map(|check| check.check.len()).max().unwrap_or(0);
    for check in &verdict.checks {
        let (style, mark) = match check.result {
            Outcome::Passed => (Style::Green, "passed "),
            Outcome::Failed => (Style::Red, "FAILED "),
            Outcome::Unknown => (Style::Yellow, "missing"),
            Outcome::NotChecked => (Style::Dim, "not asked"),
        };
        let mark = ui.paint(style, &format!("{mark:9}"));
        text += &format!("  {mark}  {:width$}  {}\n", check.check, printable_in_line(&check.says));
    }
    text += &published.map(|published| lists(ui, published)).unwrap_or_default();
    if !verdict.reasons.is_empty() {
        text += &format!("\n{}\n", ui.paint(Style::Bold, "why"));
        for reason in &verdict.reasons {
            text += &format!("  {}\n", ui.paint(Style::Red, reason.code.code()));
            text += &format!("    {}\n", reason.code.means());
            text += &format!("    what to do: {}\n", reason.advice);
        }
    }
    if let Some(diagnosis) = &verdict.diagnosis {
        text += &format!("\n{}\n", ui.paint(Style::Bold, "diagnosis, which decides nothing"));
        for cause in &diagnosis.causes {
            for change in &cause.changes {
                text +=
                    &format!("  {}\n", ui.paint(Style::Yellow, &printable_in_line(&change.says)));
                text += &format!("    what to do: {}\n", printable_in_line(&change.advice));
            }
        }
        if diagnosis.causes.is_empty() {
            text += &format!(
                "  no launch near the release's gives this digest ({} were tried)\n",
                diagnosis.searched
            );
        }
    }
    if !verdict.notes.is_empty() {
        text += &format!("\n{}\n", ui.paint(Style::Bold, "to be known"));
        for note in &verdict.notes {
            text += &format!("  - {}\n", printable_in_line(note));
        }
    }
    ui.answer(&text)
}

/// Every reason.
pub(super) fn reasons(ui: &Ui) -> Result<()> {
    if ui.is_json() {
        let reason = |reason: &Reason| {
            let verdict = match reason.class() {
                Class::Rejected => Answer::Rejected,
                Class::CannotDecide => Answer::CannotDecide,
                Class::Malformed => Answer::Malformed,
            };
            let (code, means, advice) = (reason.code(), reason.means(), reason.advice());
            json!({ "code": code, "verdict": verdict, "means": means, "advice": advice })
        };
        return ui.json(&Reason::ALL.iter().map(reason).collect::<Vec<_>>());
    }
    let width = Reason::ALL.iter().map(|reason| reason.code().len()).max().unwrap_or(0);
    let mut text = String::new();
    for reason in Reason::ALL {
        text += &format!("{:width$}  {}\n", reason.code(), reason.means());
        text += &format!("{:width$}  {}\n", "", ui.paint(Style::Dim, reason.advice()));
    }
    ui.answer(&text)
}
