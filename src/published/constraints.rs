//! What a publisher says that a machine must be, held against a machine's report: as a policy beside the
//! verifier's own.

use serde_json::json;

use crate::report::policy::{Policy, ReportData};
use crate::report::verdict::Ledger;
use crate::report::{self, Reason};
use crate::statement::constraints::{Constraints, Scheme};

const CHECK: &str = "statement-constraints";

pub(super) fn check(
    constraints: &Constraints,
    machine: &report::Question<'_>,
    ledger: &mut Ledger,
) {
    let policy = match policy(constraints) {
        Ok(policy) => policy,
        Err(error) => {
            let says = crate::error::in_one_line(&error);
            return ledger.failed(CHECK, Reason::StatementForm, says);
        }
    };
    let unmet = report::verify::unmet(machine, &policy);
    match unmet.as_slice() {
        [] => ledger.passed(CHECK, "the machine is what the publisher says that it must be"),
        unmet => ledger.failed(CHECK, Reason::StatementConstraints, unmet.join("; ")),
    }
    if let Some(scheme) = constraints.report_data_scheme {
        report_data(scheme, machine.policy.report_data, ledger);
    }
}

/// That REPORT_DATA was checked as the publisher says that it is made: by another scheme, what was checked is not
/// what the workload means by it.
fn report_data(stated: Scheme, checked: ReportData, ledger: &mut Ledger) {
    const CHECK: &str = "statement-report-data";
    let stated_name = stated.name();
    match Scheme::of(checked) {
        Some(checked) if checked == stated => {
            ledger.passed(CHECK, format!("checked as it is made: `{stated_name}`"));
        }
        // Whoever gives all the bytes has made them himself, by whatever scheme.
        Some(Scheme::Raw) | None => ledger.not_checked(
            CHECK,
            format!("the publisher says that it is made by the scheme `{stated_name}`, and nothing was checked by that"),
        ),
        Some(checked) => {
            let says = format!(
                "it was checked by the scheme `{}`, and the publisher says that it is made by `{stated_name}`",
                checked.name()
            );
            ledger.failed(CHECK, Reason::StatementConstraints, says);
        }
    }
}

/// The policy that says the same: what the statement does not speak of may be anything.
fn policy(constraints: &Constraints) -> crate::error::Result<Policy> {
    let Constraints { guest_policy, platform, .. } = constraints;
    let policy = json!({
        "version": 1,
        "products": constraints.products,
        "signers": constraints.signers,
        "minimum-tcb": constraints.minimum_tcb,
        "guest-policy": {
            "deny": guest_policy.deny,
            "require": guest_policy.require,
            "weaker-than-release": "allow",
        },
        "platform": { "deny": platform.deny, "require": platform.require },
        "vmpl": constraints.vmpl,
        "minimum-guest-svn": constraints.minimum_guest_svn,
        "family-id": constraints.family_id,
        "image-id": constraints.image_id,
        "id-keys": constraints.id_keys,
        "author-keys": constraints.author_keys,
        "host-data": constraints.host_data,
    });
    // JSON is YAML 1.2, and the reader of policies knows what a policy may say.
    Policy::parse("the statement's constraints", &policy.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_policy_says_of_a_release_is_said_again() {
        let mut stated = Policy::conservative();
        stated.minimum_guest_svn = 7;
        stated.host_data = Some([3; 32]);
        let again = policy(&Constraints::of(&stated)).unwrap();
        assert_eq!(again.products, stated.products);
        assert_eq!(again.minimum_tcb, stated.minimum_tcb);
        assert_eq!(again.guest_policy.deny, stated.guest_policy.deny);
        assert_eq!(again.platform, stated.platform);
        assert_eq!((again.minimum_guest_svn, again.host_data), (7, Some([3; 32])));
    }
}
