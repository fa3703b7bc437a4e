//! A question that is answered with yes, to be changed in one place.

use std::collections::BTreeMap;
use std::sync::Mutex;

use counterfoil::launch::Record;
use counterfoil::report::fields::Signer;
use counterfoil::report::{
    Collateral, Evidence, Expected, Policy, Product, Question, Reason, Roots, Time, Verdict, verify,
};

use crate::support::amd::{CrlSpec, Machine, NOW, Spec, roots, time};
use crate::support::launch::record;

/// Everything that an answer depends on.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) machine: Machine,
    /// The certificates, before they are signed.
    pub(crate) vek: Option<Spec>,
    pub(crate) ask: Option<Spec>,
    pub(crate) ark: Option<Spec>,
    pub(crate) crl: Option<CrlSpec>,
    /// What happens to the signed bytes on the way.
    pub(crate) on_the_way: fn(&mut Bytes),
    pub(crate) policy: String,
    pub(crate) nonce: Option<[u8; 32]>,
    pub(crate) expected: Known,
    pub(crate) roots: Roots,
    pub(crate) at: Time,
}

/// What the machine must run.
#[derive(Clone)]
pub(crate) enum Known {
    Release(Box<Record>),
    Invalid,
    Measurement(counterfoil::digest::Sha384),
}

/// A policy, read once: in a test's unoptimised build that takes longer than all signatures.
pub(crate) fn read(text: &str) -> Policy {
    static READ: Mutex<BTreeMap<String, Policy>> = Mutex::new(BTreeMap::new());
    let mut read = READ.lock().unwrap();
    let parse = || Policy::parse("policy.yaml", text).unwrap();
    read.entry(text.to_owned()).or_insert_with(parse).clone()
}

/// The signed bytes.
pub(crate) struct Bytes {
    pub(crate) evidence: Vec<u8>,
    pub(crate) vek: Vec<u8>,
    pub(crate) ask: Vec<u8>,
    pub(crate) ark: Vec<u8>,
    pub(crate) crl: Vec<u8>,
}

impl Asked {
    /// Accepted as it is.
    pub(crate) fn good(product: Product) -> Self {
        Self::of(Machine::new(product))
    }

    pub(crate) fn vlek(product: Product) -> Self {
        Self::of(Machine::new(product).with_vlek())
    }

    fn of(mut machine: Machine) -> Self {
        let record = record();
        machine.set(0x90, &record.digests[1].digest.0);
        Self {
            vek: Some(machine.vek()),
            ask: Some(machine.ask()),
            ark: Some(machine.ark()),
            crl: Some(machine.crl()),
            machine,
            on_the_way: |_| {},
            policy: "version: 1\n".to_owned(),
            nonce: None,
            expected: Known::Release(Box::new(record)),
            roots: roots(),
            at: time(NOW),
        }
    }

    pub(crate) fn vek(&mut self) -> &mut Spec {
        self.vek.as_mut().unwrap()
    }

    pub(crate) fn ask(&mut self) -> &mut Spec {
        self.ask.as_mut().unwrap()
    }

    pub(crate) fn ark(&mut self) -> &mut Spec {
        self.ark.as_mut().unwrap()
    }

    pub(crate) fn crl(&mut self) -> &mut CrlSpec {
        self.crl.as_mut().unwrap()
    }

    /// Adds to the policy.
    pub(crate) fn policy(&mut self, text: &str) {
        self.policy += text;
        self.policy += "\n";
    }

    pub(crate) fn bytes(&self) -> Bytes {
        let sign = |spec: &Option<Spec>| spec.as_ref().map(Spec::sign).unwrap_or_default();
        let mut bytes = Bytes {
            evidence: self.machine.attest(),
            vek: sign(&self.vek),
            ask: sign(&self.ask),
            ark: sign(&self.ark),
            crl: self.crl.as_ref().map(CrlSpec::sign).unwrap_or_default(),
        };
        (self.on_the_way)(&mut bytes);
        bytes
    }

    pub(crate) fn answer(&self) -> Verdict {
        self.answer_to(&self.bytes()).unwrap()
    }

    /// The verdict on these bytes; the reason where the collateral cannot even be read.
    pub(crate) fn answer_to(&self, bytes: &Bytes) -> Result<Verdict, String> {
        let evidence = Evidence::open(&bytes.evidence);
        let mut collateral = Collateral::default();
        for der in [&bytes.vek, &bytes.ask, &bytes.ark].into_iter().filter(|der| !der.is_empty()) {
            collateral.add_certificate(der).map_err(|error| error.to_string())?;
        }
        if !bytes.crl.is_empty() {
            collateral.add_crl(&bytes.crl).map_err(|error| error.to_string())?;
        }
        let policy = read(&self.policy);
        let expected = match &self.expected {
            Known::Release(record) => Expected::Release { record, igvm: None },
            Known::Invalid => Expected::Invalid("it contradicts itself"),
            Known::Measurement(digest) => Expected::Measurement(*digest),
        };
        Ok(verify(&Question {
            evidence: evidence.as_ref(),
            collateral: &collateral,
            roots: &self.roots,
            policy: &policy,
            expected,
            nonce: self.nonce,
            at: self.at,
        }))
    }

    /// The names of the reasons.
    pub(crate) fn reasons(&self) -> Vec<Reason> {
        self.answer().reasons.iter().map(|reason| reason.code).collect()
    }

    pub(crate) fn signer(&self) -> Signer {
        self.machine.leaf.signer
    }
}
