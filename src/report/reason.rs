//! Why something is not accepted, by stable names. A name never changes its meaning and is never used for
//! anything else; [`Reason::means`] and [`Reason::advice`] are its documentation, which
//! `verify --list-reasons` prints.

use std::fmt;

use serde::{Serialize, Serializer};

/// What a reason amounts to.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// Something that is needed to decide is not there.
    CannotDecide,
    /// The evidence says something else than it must.
    Rejected,
    /// What was given is not what it is called.
    Malformed,
}

macro_rules! reasons {
    ($($variant:ident $code:literal $class:ident $means:literal, $advice:literal;)*) => {
        /// Why something is not accepted.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        #[expect(missing_docs, reason = "`means` says what each one means")]
        pub enum Reason { $($variant,)* }

        impl Reason {
            /// All of them, in the order in which they are looked for.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable name.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Whether it rejects or leaves open.
            pub fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)* }
            }

            /// What it means.
            pub fn means(self) -> &'static str {
                match self { $(Self::$variant => $means,)* }
            }

            /// What to do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }
        }
    };
}

reasons! {
    WrapperUnknown "wrapper-unknown" Malformed
        "what was given is no attestation report, and nothing that is known to hold one",
        "give the report itself (1184 bytes), or see `verify --help` for what may be around it";
    WrapperTruncated "wrapper-truncated" Malformed
        "what is around the report promises more bytes than there are",
        "fetch the evidence again";
    WrapperDamaged "wrapper-damaged" Malformed
        "what is around the report is damaged, or has something behind it",
        "fetch the evidence again";
    WrapperStatus "wrapper-status" Rejected
        "the AMD firmware answered the request for a report with an error",
        "look the status up in the SNP firmware ABI, and ask the machine again";
    WrapperTooDeep "wrapper-too-deep" Malformed
        "the report is in more containers than anybody packs",
        "unpack it until one container is left";
    WrapperTooLarge "wrapper-too-large" Malformed
        "what was given is larger than any evidence is, or unpacks to something that is",
        "give the evidence alone";
    WrapperCertificates "wrapper-certificates" Malformed
        "the certificate table that came with the report is damaged",
        "cut the report out (1184 bytes), and give the certificates by `--collateral`";
    WrapperJson "wrapper-json" Malformed
        "the JSON around the report has no report where one is expected",
        "give the report itself, or the agent's answer as it was received";
    HclType "hcl-type" Rejected
        "the Azure report is of another technology than SEV-SNP",
        "take the report from an SEV-SNP machine";
    HclRuntimeData "hcl-runtime-data" Rejected
        "REPORT_DATA is not the hash of the runtime data that Azure's report brings along",
        "do not use the keys in the runtime data; fetch the report again";
    EvidenceReportData "evidence-report-data" Rejected
        "the agent's answer names another REPORT_DATA than the report has",
        "ask again; if it stays so, something between you and the guest changes the answer";

    ReportSize "report-size" Malformed
        "a report has 1184 bytes",
        "give the whole report, as the AMD firmware wrote it";
    ReportVersion "report-version" Malformed
        "the report has a version that this program does not know",
        "use a newer counterfoil, if AMD has published such a version";
    ReportVersion4 "report-version-4" Malformed
        "version 4 is not described in any public specification, and no sample of it is known",
        "update the machine's SNP firmware to one that writes version 5";
    ReportReserved "report-reserved" Rejected
        "bytes are set that the report's version reserves",
        "use a newer counterfoil, if AMD has published what they mean";
    ReportAlgorithm "report-algorithm" Rejected
        "SIGNATURE_ALGO is not ECDSA on P-384 with SHA-384",
        "no firmware is known to write this";
    ReportUnsigned "report-unsigned" Rejected
        "the report says that no key signed it",
        "have the host unmask its chip key (MaskChipKey), and ask again";
    ReportSigningKey "report-signing-key" Rejected
        "KEY_INFO names a signing key that is not defined",
        "no firmware is known to write this";
    ReportFromHost "report-from-host" Rejected
        "the report was asked for by the host, not by the guest: nothing in it is the guest's word",
        "ask the guest";
    ReportVmpl "report-vmpl" Rejected
        "there is no such VMPL",
        "no firmware is known to write this";
    ReportSignatureForm "report-signature-form" Rejected
        "the signature is not a pair of numbers that any signature can have",
        "fetch the report again";
    ReportSignature "report-signature" Rejected
        "the certified key did not sign these bytes",
        "fetch report and certificate again; if both are as received, the report is forged or damaged";

    ProductUnknown "product-unknown" CannotDecide
        "the report is from a processor whose root of trust is not known here",
        "use a newer counterfoil, if the processor is one of AMD's";
    ProductUndetermined "product-undetermined" CannotDecide
        "a report of version 2 does not say which processor it is from, and no certificate says it either",
        "give the certificate of the signing key by `--collateral`";
    ProductMismatch "product-mismatch" Rejected
        "the certificate is for another line of processors than the report",
        "fetch the certificate for this report";
    ProductDenied "product-denied" Rejected
        "the policy does not take this line of processors",
        "run elsewhere, or take the product into `products`";
    SignerDenied "signer-denied" Rejected
        "the policy does not take reports that are signed by this kind of key",
        "ask the operator for the other kind, or take the kind into `signers`";

    CollateralDamaged "collateral-damaged" Malformed
        "what was given as a certificate or a list of revoked ones is damaged, or is none",
        "fetch it again, or leave it out";
    CertificateUnknown "certificate-unknown" Rejected
        "a certificate of no chain of AMD's was given for one, or says that it is AMD's",
        "leave it out; if it should be one of AMD's, fetch it again: it is damaged";
    VekMissing "vek-missing" CannotDecide
        "the certificate of the key that signed the report (VCEK or VLEK) is not there",
        "`counterfoil collateral fetch REPORT --output FILE`, then give the file by `--collateral`";
    VekKind "vek-kind" Rejected
        "the report says another kind of signing key than the certificate is for",
        "a VCEK comes from AMD's key service, a VLEK from the cloud's operator: give the other one";
    VekKey "vek-key" Rejected
        "the certificate is not for a key on P-384",
        "fetch it again";
    VekExtension "vek-extension" Rejected
        "an extension of the certificate is missing, twice there, or not understood",
        "fetch it again";
    VekIssuer "vek-issuer" Rejected
        "the certificate names another issuer than the certificate that should have signed it",
        "give the intermediate certificate (ASK or ASVK) that belongs to it";
    VekAlgorithm "vek-algorithm" Rejected
        "the certificate is not signed as AMD signs: RSASSA-PSS with SHA-384 and 48 bytes of salt",
        "fetch it again";
    VekSignature "vek-signature" Rejected
        "the intermediate key did not sign the certificate of the signing key",
        "fetch both again; if they are as received, the certificate is forged";
    VekNotYetValid "vek-not-yet-valid" Rejected
        "the certificate of the signing key begins to be valid later",
        "see that the clock is right, or that `--at` is; AMD issues the certificate when it is asked, which may be after the report was made";
    VekExpired "vek-expired" Rejected
        "the certificate of the signing key is no longer valid",
        "fetch a new one; for a report of long ago say `--at` the time at which it was made";
    VekTcb "vek-tcb" Rejected
        "the certificate is for another TCB version than the report says",
        "fetch the certificate for the report's REPORTED_TCB";
    VekChipId "vek-chip-id" Rejected
        "the certificate is for another chip than the report says",
        "fetch the certificate for the report's CHIP_ID";

    AskMissing "ask-missing" CannotDecide
        "the intermediate certificate (ASK or ASVK) is not there",
        "`counterfoil collateral fetch REPORT --output FILE`, then give the file by `--collateral`";
    AskMalformed "ask-malformed" Rejected
        "the intermediate certificate is not one of AMD's form",
        "fetch it again";
    AskNotCa "ask-not-ca" Rejected
        "the intermediate certificate may not sign certificates",
        "fetch it again";
    AskIssuer "ask-issuer" Rejected
        "the intermediate certificate names another issuer than AMD's root of this product",
        "give the intermediate certificate of this product";
    AskAlgorithm "ask-algorithm" Rejected
        "the intermediate certificate is not signed as AMD signs",
        "fetch it again";
    AskSignature "ask-signature" Rejected
        "AMD's root key did not sign the intermediate certificate",
        "fetch it again; if it is as received, the chain is somebody else's";
    AskNotYetValid "ask-not-yet-valid" Rejected
        "the intermediate certificate begins to be valid later",
        "see that the clock is right, or that `--at` is";
    AskExpired "ask-expired" Rejected
        "the intermediate certificate is no longer valid",
        "fetch a new one";
    AskRevoked "ask-revoked" Rejected
        "AMD has revoked the intermediate certificate: the list is the root's, and names it by its serial number",
        "nothing that it signed can be believed any more: run elsewhere";
    ArkNotPinned "ark-not-pinned" Rejected
        "the root certificate that came along is not AMD's for this product",
        "whoever made this chain is not AMD; fetch the collateral from AMD's key service";
    ArkSignature "ark-signature" Rejected
        "the root certificate that came along is not signed by its own key",
        "leave it out: the root's key is built in";
    ArkNotCa "ark-not-ca" Rejected
        "the root certificate may not sign the certificates under it",
        "leave it out: the root's key is built in";
    ArkNotYetValid "ark-not-yet-valid" Rejected
        "the root certificate begins to be valid later",
        "see that the clock is right, or that `--at` is";
    ArkExpired "ark-expired" Rejected
        "the root certificate is no longer valid",
        "use a newer counterfoil, with AMD's new root";
    ArkRevoked "ark-revoked" Rejected
        "AMD has revoked its root certificate: the list is the root's own, and names it by its serial number",
        "use a newer counterfoil, with AMD's new root";

    CrlMissing "crl-missing" CannotDecide
        "there is no list of revoked certificates, and the policy asks for one",
        "`counterfoil collateral fetch REPORT --output FILE`; or say `crl: optional` under `freshness`";
    CrlIssuer "crl-issuer" CannotDecide
        "the list of revoked certificates is of another root",
        "fetch the list of this product";
    CrlUnknown "crl-unknown" Rejected
        "a list of revoked certificates names none of AMD's roots",
        "leave it out; if it should be AMD's, fetch it again: it is damaged";
    CrlAlgorithm "crl-algorithm" Rejected
        "the list of revoked certificates is not signed as AMD signs",
        "fetch it again";
    CrlSignature "crl-signature" Rejected
        "AMD's root key did not sign the list of revoked certificates",
        "fetch it again; if it is as received, the list is forged";
    CrlStale "crl-stale" CannotDecide
        "there should be a newer list of revoked certificates by now",
        "fetch the collateral again";
    CrlTooOld "crl-too-old" CannotDecide
        "the list of revoked certificates is older than the policy allows",
        "fetch the collateral again, or allow more by `crl-max-age-days`";

    TcbUnlisted "tcb-unlisted" Rejected
        "the policy has no minimum TCB for this processor",
        "take an entry for it into `minimum-tcb`";
    TcbFmc "tcb-fmc" Rejected
        "the FMC is older than the policy allows",
        "have the host's firmware updated";
    TcbBootloader "tcb-bootloader" Rejected
        "the security processor's boot loader is older than the policy allows",
        "have the host's firmware updated";
    TcbTee "tcb-tee" Rejected
        "the security processor's operating system is older than the policy allows",
        "have the host's firmware updated";
    TcbSnp "tcb-snp" Rejected
        "the SNP firmware is older than the policy allows",
        "have the host's SNP firmware updated";
    TcbMicrocode "tcb-microcode" Rejected
        "the microcode is older than the policy allows",
        "have the host's microcode updated";
    TcbCommitted "tcb-committed" Rejected
        "the host can still go back to an older TCB than the policy allows",
        "have the host commit its firmware (SNP_COMMIT)";
    TcbLaunch "tcb-launch" Rejected
        "the guest was launched under an older TCB than the policy allows",
        "start the guest anew on the updated host";
    PolicyReserved "policy-reserved" Rejected
        "the guest policy has bits that no guest can be launched with",
        "no firmware is known to write this";
    PolicyDebug "policy-debug" Rejected
        "the host may read and write the guest's memory",
        "launch without DEBUG in the guest policy";
    PolicyMigration "policy-migration" Rejected
        "the host may let a migration agent take the guest elsewhere",
        "launch without MIGRATE_MA in the guest policy";
    PolicyDenied "policy-denied" Rejected
        "the guest policy allows something that the policy denies",
        "launch with another guest policy";
    PolicyRequired "policy-required" Rejected
        "the guest policy lacks something that the policy requires",
        "launch with another guest policy";
    PolicyAbi "policy-abi" Rejected
        "the guest policy takes older SNP firmware than the policy does",
        "launch with a higher ABI version in the guest policy";
    PolicyWeaker "policy-weaker" Rejected
        "the guest policy allows the host more than the release's does",
        "launch with the policy in the release's `launch.json`";
    PlatformDenied "platform-denied" Rejected
        "the platform has something enabled that the policy denies",
        "have the host configured otherwise, or run elsewhere";
    PlatformRequired "platform-required" Rejected
        "the platform lacks something that the policy requires",
        "have the host configured otherwise, or run elsewhere";
    Vmpl "vmpl" Rejected
        "the report was asked for at a privilege level that the policy does not take",
        "ask at another VMPL, or take this one into `vmpl`";
    GuestSvn "guest-svn" Rejected
        "the guest's security version is lower than the policy allows",
        "launch the newer image";
    FamilyId "family-id" Rejected
        "FAMILY_ID is another than the policy says",
        "launch with the ID block of this family";
    ImageId "image-id" Rejected
        "IMAGE_ID is another than the policy says",
        "launch with the ID block of this image";
    IdKey "id-key" Rejected
        "the ID block was signed by a key that the policy does not name, or there was none",
        "launch with the release's ID block (`counterfoil id-block`)";
    AuthorKey "author-key" Rejected
        "the ID key is endorsed by a key that the policy does not name, or by none",
        "launch with the release's ID block (`counterfoil id-block --author-key`)";
    HostData "host-data" Rejected
        "HOST_DATA is another than the policy says",
        "have the host launch with the right HOST_DATA";
    ChipIdMasked "chip-id-masked" Rejected
        "the report does not say which chip it is from, and the policy names chips",
        "have the host unmask CHIP_ID, or leave `chip-ids` out";
    ChipIdDenied "chip-id-denied" Rejected
        "the report is from a chip that the policy does not name",
        "run on one of the named machines";
    CspDenied "csp-denied" Rejected
        "the policy names cloud operators, and the report is not signed by a VLEK of one of them",
        "run elsewhere, or take the operator into `csp-ids`";
    MitigationsUnknown "mitigations-unknown" Rejected
        "the policy requires mitigations, and a report of this version does not say which there are",
        "have the SNP firmware updated to one that writes version 5";
    MitigationsLaunch "mitigations-launch" Rejected
        "mitigations that the policy requires were not there when the guest was launched",
        "start the guest anew on the updated host";
    MitigationsCurrent "mitigations-current" Rejected
        "mitigations that the policy requires are not there",
        "have the host's SNP firmware updated";

    ReportData "report-data" Rejected
        "REPORT_DATA is not the value that was expected",
        "see that the report is for this key and this nonce: it may be another machine's";
    BindingMissing "binding-missing" Rejected
        "the guest has bound no key to its evidence, and one is expected",
        "have the workload hand its key to the agent before it answers";
    Binding "binding" Rejected
        "the guest has bound another key to its evidence than the one that was expected",
        "do not talk to whoever holds the expected key: it is not this guest";
    NonceMissing "nonce-missing" Rejected
        "the policy asks for a nonce, and none was given",
        "give `--nonce`, or fetch the evidence by `--url`";
    NonceUnused "nonce-unused" Rejected
        "a nonce was given, and the scheme by which REPORT_DATA is checked has no place for one",
        "check by `labelled`, or leave the nonce out";

    RecordInvalid "record-invalid" Rejected
        "the release's launch record contradicts itself",
        "fetch the release again; if it stays so, its publisher must correct it";
    MeasurementUnexpected "measurement-unexpected" Rejected
        "MEASUREMENT is not the digest that was expected",
        "see `counterfoil explain`, with the release whose digest it should be";
    MeasurementUnknown "measurement-unknown" Rejected
        "MEASUREMENT is none of the release's digests: the machine runs something else",
        "see the diagnosis; `counterfoil explain` takes files that may have been launched in its place";
    MeasurementRow "measurement-row" Rejected
        "the launch is one of the release's, with vCPUs or a CPU that the policy does not take",
        "launch with the vCPUs and the CPU that the policy names";

    StatementMissing "statement-missing" CannotDecide
        "somebody's statement is asked for, and the release has none",
        "fetch the release as it was published: `statement.sigstore.json` belongs to it";
    StatementForm "statement-form" Malformed
        "what stands in the place of a statement is none, or not in a form that is known",
        "fetch it again; a statement is a Sigstore bundle of an in-toto statement, as `counterfoil publish` writes it";
    StatementSigner "statement-signer" Rejected
        "nobody whose statements count has signed this one",
        "see who signed it; if that is whom you mean to believe, say so by a `publisher` line";
    StatementSignature "statement-signature" Rejected
        "the statement names a publisher's key, and that key did not sign these bytes",
        "fetch the statement again; if it stays so, it is forged or damaged";
    StatementRelease "statement-release" Rejected
        "the statement is about other files than this release has",
        "fetch the release again; if it stays so, files and statement are of two releases";
    StatementMeasurements "statement-measurements" Rejected
        "the launch digests in the statement are not those that follow from the launch record",
        "do not use the release: its publisher states something else than the files say";
    StatementConstraints "statement-constraints" Rejected
        "the machine is not what the publisher says that this release may run on",
        "run it on one that is, or ask the publisher for a statement that says otherwise";
    StatementEarly "statement-early" Rejected
        "the statement is not valid yet",
        "see the clock, or what `--at` says";
    StatementExpired "statement-expired" Rejected
        "the statement is not valid any more",
        "fetch the statement anew: its publisher renews what may still run";
    StatementSequence "statement-sequence" Rejected
        "the statement's sequence number is lower than the lowest that is taken",
        "use a newer release: this one was replaced";
    StatementSuperseded "statement-superseded" Rejected
        "a publisher whom the policy names has said something newer in the place of this statement",
        "use the newer release";
    StatementRevoked "statement-revoked" Rejected
        "a publisher whom the policy names has revoked this statement",
        "do not use the release; the revocation says why";
    StatementUnread "statement-unread" CannotDecide
        "a publisher whom the policy names has said something that this program cannot read: it may be a revocation",
        "use a newer counterfoil";

    LogProofMissing "log-proof-missing" CannotDecide
        "nothing proves that it was logged",
        "fetch the `.tlog-proof` or the bundle with its log entry";
    LogProofForm "log-proof-form" Malformed
        "the proof of logging is damaged, or in a form that is not known",
        "fetch it again, or make it anew with `counterfoil log prove`";
    LogUnknown "log-unknown" Rejected
        "no log that counts has signed the checkpoint",
        "see its origin; if that is the log that you mean to believe, say so by a `log` line";
    LogSignature "log-signature" Rejected
        "the checkpoint names a log's key, and that key did not sign it",
        "fetch the proof again; if it stays so, it is forged or damaged";
    LogEntry "log-entry" Rejected
        "what was logged is something else",
        "fetch the proof that belongs to this statement";
    LogInclusion "log-inclusion" Rejected
        "the hashes do not lead from the entry to the checkpoint's root: it is not in that tree",
        "fetch the proof again; if it stays so, it is forged or damaged";
    LogSplitView "log-split-view" Rejected
        "the log has signed two trees that are not one the continuation of the other",
        "keep both checkpoints and publish them: the log shows different people different things";
    LogRollback "log-rollback" Rejected
        "the log has fewer entries than it has signed before",
        "keep both checkpoints and publish them: entries were taken back";
    LogStale "log-stale" Rejected
        "the checkpoint was seen by its witnesses longer ago than is taken",
        "fetch a proof of today: `counterfoil log prove`";
    WitnessSignature "witness-signature" Rejected
        "the checkpoint names a witness's key, and that key did not sign it",
        "fetch the proof again; if it stays so, it is forged or damaged";
    WitnessQuorum "witness-quorum" Rejected
        "too few witnesses have signed the checkpoint",
        "fetch a proof with more cosignatures (`counterfoil log witness`, then `log staple`), or see why the witnesses do not sign";

    RebuildForm "rebuild-form" Malformed
        "what stands in the place of a rebuilder's statement is none",
        "fetch it again; it is a Sigstore bundle, as `counterfoil reproduce --sign` writes it";
    RebuildSignature "rebuild-signature" Rejected
        "a rebuild names a builder's key, and that key did not sign these bytes",
        "fetch it again; if it stays so, it is forged or damaged";
    RebuildDisagrees "rebuild-disagrees" Rejected
        "a builder whose word counts got something else from the same recipe",
        "see the first difference in its verdict; `counterfoil reproduce` shows it on your machine";
    RebuildCountedTwice "rebuild-counted-twice" Rejected
        "there are enough rebuilds only if somebody counts twice",
        "wait for another builder, of another organisation or with another tool where the policy asks for that";
    RebuildStale "rebuild-stale" Rejected
        "there are enough rebuilds only if those count that are older than is taken",
        "have the release rebuilt again";
    RebuildQuorum "rebuild-quorum" Rejected
        "too few builders have got the same from the same recipe",
        "wait for more, or rebuild it: `counterfoil reproduce --sign`";
}

/// What a reason is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Leg {
    /// The report of a machine, and what is expected of it.
    Report,
    /// What a publisher states.
    Statement,
    /// The log, and its witnesses.
    Log,
    /// The rebuilders.
    Rebuilders,
}

impl Reason {
    /// What it is about. (The reasons stand in the order of the legs.)
    pub fn leg(self) -> Leg {
        match self {
            _ if self < Self::StatementMissing => Leg::Report,
            _ if self < Self::LogProofMissing => Leg::Statement,
            _ if self < Self::RebuildForm => Leg::Log,
            _ => Leg::Rebuilders,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let codes: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for code in codes {
            assert!(
                code.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')),
                "{code}"
            );
        }
    }
}
