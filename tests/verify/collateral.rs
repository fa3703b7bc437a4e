//! `collateral`: fetched from a service with the shapes of AMD's, kept, packed and shown.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use base64ct::{Base64, Encoding as _};
use counterfoil::report::describe::hex;
use counterfoil::report::fields::Signer;
use counterfoil::report::{Collateral, Product};
use der::pem::{LineEnding, encode_string};
use serde_json::Value;

use crate::support::amd::{Machine, NOW, Spec};
use crate::support::place::{Place, Ran};
use crate::support::server::{Fault, Server};

/// A key service that knows one machine.
struct Service {
    place: Place,
    server: Server,
    chip: String,
}

impl Service {
    fn new(machine: &Machine) -> Self {
        let place = Place::new();
        let product = machine.product;
        let pem = |spec: Spec| encode_string("CERTIFICATE", LineEnding::LF, &spec.sign()).unwrap();
        for (kind, signer) in [("vcek", Signer::Vcek), ("vlek", Signer::Vlek)] {
            let chain = pem(Spec::ask(product, signer)) + &pem(Spec::ark(product));
            place.write(&format!("kds/{kind}/v1/{product}/cert_chain"), chain);
            place.write(&format!("kds/{kind}/v1/{product}/crl"), machine.crl().sign());
        }
        let [fmc, bootloader, tee, snp, microcode] =
            machine.leaf.tcb.map(Option::unwrap_or_default);
        let id = machine.leaf.hw_id.as_deref().map(hex).unwrap_or_default();
        let fmc =
            if product == Product::Turin { format!("fmcSPL={fmc:02}&") } else { String::new() };
        let chip = format!(
            "vcek/v1/{product}/{id}?{fmc}blSPL={bootloader:02}&teeSPL={tee:02}&snpSPL={snp:02}&ucodeSPL={microcode:02}"
        );
        place.write(&format!("kds/{chip}"), machine.vek().sign());
        place.write("report.bin", machine.attest());
        let server = Server::start(&place.path("kds"));
        Self { place, server, chip }
    }

    fn fetch(&self, more: &[&str]) -> Ran {
        let uri = self.server.uri();
        let mut arguments = vec!["collateral", "fetch", "--output", "out.json", "--service", &uri];
        if !more.contains(&"--product") {
            arguments.push("report.bin");
        }
        if !more.contains(&"--pace") {
            arguments.extend(["--pace", "0"]);
        }
        arguments.extend(more);
        self.place.run(&arguments)
    }

    fn paths(&self) -> Vec<String> {
        self.server.requests().into_iter().map(|request| request.path).collect()
    }

    fn out(&self) -> Vec<u8> {
        fs::read(self.place.path("out.json")).unwrap()
    }
}

#[test]
fn the_service_is_asked_as_amd_describes_it() {
    for product in Product::ALL {
        let machine = Machine::new(product);
        let service = Service::new(&machine);
        let ran = service.fetch(&[]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(
            service.paths(),
            [
                format!("/vcek/v1/{product}/cert_chain"),
                format!("/vcek/v1/{product}/crl"),
                format!("/{}", service.chip),
            ]
        );
        let found = Collateral::read(&service.out()).unwrap();
        assert_eq!((found.certificates.len(), found.crls.len()), (3, 1));
        let mut expected = machine.collateral();
        expected.fetched = found.fetched;
        assert_eq!(service.out(), expected.to_json().unwrap());
    }
}

#[test]
fn what_it_gave_is_kept_for_its_time() {
    let service = Service::new(&Machine::new(Product::Genoa));
    assert_eq!(service.fetch(&[]).code, 0);
    assert_eq!(service.fetch(&[]).code, 0);
    assert_eq!(service.paths().len(), 3, "the second time nobody is asked");

    // Two days later the list is asked for again, and nothing else.
    let kept = |name: &str| {
        walkdir::WalkDir::new(service.place.path("cache"))
            .into_iter()
            .map(|entry| entry.unwrap().into_path())
            .find(|path| path.ends_with(name))
            .unwrap()
    };
    let age = |name: &str, days: u64| {
        let then = SystemTime::now() - Duration::from_secs(days * 86400);
        File::options().write(true).open(kept(name)).unwrap().set_modified(then).unwrap();
    };
    age("crl", 2);
    age("cert_chain", 2);
    assert_eq!(service.fetch(&[]).code, 0);
    assert_eq!(service.paths()[3..], ["/vcek/v1/Genoa/crl"]);

    // On request all of it that can change.
    assert_eq!(service.fetch(&["--refresh"]).code, 0);
    assert_eq!(service.paths()[4..], ["/vcek/v1/Genoa/cert_chain", "/vcek/v1/Genoa/crl"]);

    // What is damaged is not kept.
    fs::write(kept("crl"), b"half a li").unwrap();
    assert_eq!(service.fetch(&[]).code, 0);
    assert_eq!(service.paths()[6..], ["/vcek/v1/Genoa/crl"]);
}

#[test]
fn it_is_asked_slowly() {
    let service = Service::new(&Machine::new(Product::Genoa));
    service.server.fault(&service.chip, Fault::Throttle(1));
    service.server.fault(&service.chip, Fault::Status(503));
    let ran = service.fetch(&[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("trying again in 1 seconds (1 of 6)"), "{}", ran.stderr);
    assert_eq!(service.paths().iter().filter(|path| path.contains("blSPL")).count(), 3);

    // Another chip at once: the next one's turn comes later.
    let mut other = Machine::new(Product::Genoa);
    other.leaf.hw_id.as_mut().unwrap()[0] = 9;
    other.set(0x1a0, &[9]);
    service.place.write("report.bin", other.attest());
    let chip = service.chip.replace("Genoa/01", "Genoa/09");
    service.place.write(&format!("kds/{chip}"), other.vek().sign());
    let ran = service.fetch(&["--pace", "2"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("the key service is asked slowly"), "{}", ran.stderr);
}

#[test]
fn what_it_does_not_give_is_said() {
    let service = Service::new(&Machine::new(Product::Genoa));
    for _ in 0..6 {
        service.server.fault(&service.chip, Fault::Throttle(0));
    }
    let ran = service.fetch(&[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("status 429"), "{}", ran.stderr);
    assert!(!service.place.path("out.json").exists());

    service.server.fault(&service.chip, Fault::Status(404));
    let ran = service.fetch(&[]);
    assert_eq!(ran.code, 20, "{ran:?}");
    assert!(ran.stderr.contains("knows no such chip"), "{}", ran.stderr);

    service.server.fault(&service.chip, Fault::Body(b"<html>log in</html>".to_vec()));
    let ran = service.fetch(&[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("is not the certificate of the chip's key"), "{}", ran.stderr);
    // Nor is another certificate, and it is not kept.
    let chain = fs::read(service.place.path("kds/vcek/v1/Genoa/cert_chain")).unwrap();
    service.server.fault(&service.chip, Fault::Body(chain));
    assert_eq!(service.fetch(&[]).code, 1);
    // Nor is the one of this chip's older firmware, which would be kept for good.
    let mut older = Machine::new(Product::Genoa);
    older.leaf.tcb[4] = Some(83);
    service.server.fault(&service.chip, Fault::Body(older.vek().sign()));
    let ran = service.fetch(&[]);
    assert!(ran.code == 1 && ran.stderr.contains("is not the certificate"), "{ran:?}");
    assert_eq!(service.fetch(&[]).code, 0);
    fs::remove_file(service.place.path("out.json")).unwrap();

    let mut masked = Machine::new(Product::Genoa);
    masked.set(0x1a0, &[0; 64]);
    service.place.write("report.bin", masked.attest());
    let ran = service.fetch(&[]);
    assert_eq!(ran.code, 20, "{ran:?}");
    assert!(ran.stderr.contains("which chip"), "{}", ran.stderr);

    service.place.write("report.bin", b"no report");
    assert_eq!(service.fetch(&[]).code, 30);
    assert_eq!(service.fetch(&["--service", "kds.example"]).code, 2);
}

#[test]
fn a_report_of_version_2_needs_its_product() {
    let mut machine = Machine::new(Product::Milan);
    machine.set(0, &[2]).set(0x188, &[0; 3]);
    let service = Service::new(&machine);
    let ran = service.fetch(&[]);
    assert!(ran.code == 20 && ran.stderr.contains("`--product`"), "{ran:?}");
    let uri = service.server.uri();
    let ran = service.place.run(&[
        "collateral",
        "fetch",
        "report.bin",
        "--product",
        "Milan",
        "--service",
        &uri,
        "-o",
        "out.json",
        "--pace",
        "0",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(Collateral::read(&service.out()).unwrap().certificates.len(), 3);
}

/// One certificate for each chip of a fleet, of which a report needs one.
#[test]
fn a_fleet_is_packed() {
    let machine = Machine::new(Product::Genoa);
    let place = Place::new();
    for chip in 0..70_u8 {
        let mut other = machine.clone();
        other.leaf.hw_id.as_mut().unwrap()[0] = chip;
        place.write(&format!("fleet/{chip:02}.der"), other.vek().sign());
    }
    place.write("fleet/rest.json", machine.collateral().to_json().unwrap());
    place.write("report.bin", machine.attest());
    place.write("root.der", machine.ark().sign());
    let ran = place.run(&["collateral", "pack", "fleet", "--output", "all.json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for path in ["fleet", "all.json"] {
        let ran = place.run(&[
            "verify",
            "--report",
            "report.bin",
            "--any-measurement",
            "--root",
            "root.der",
            "--at",
            NOW,
            "--collateral",
            path,
        ]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
}

/// What is wrong is said of what it is.
#[test]
fn what_is_damaged_is_called_by_its_name() {
    let machine = Machine::new(Product::Genoa);
    let mut part = machine.crl();
    part.critical = true;
    for (says, bytes) in [
        ("list of revoked certificates 1: extension 2.5.29.28", part.sign()),
        ("nor a list of revoked ones", machine.crl().sign()[..200].to_vec()),
        (
            "unknown field `x`",
            br#"{"version": 1, "certificates": [], "crls": [], "x": 1}"#.to_vec(),
        ),
    ] {
        let error = Collateral::read(&bytes).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    // A block whose beginning is damaged is not passed over.
    let pem = |der: &[u8]| encode_string("CERTIFICATE", LineEnding::LF, der).unwrap();
    let (ask, ark) = (pem(&machine.ask().sign()), pem(&machine.ark().sign()));
    for text in [ark.replace("BEGIN", "BEGIO") + &ask, ask.clone() + &ark.replace("BEGIN", "BEGIO")]
    {
        assert!(Collateral::read(text.as_bytes()).is_err());
    }
}

/// A name in a certificate is one line, whatever it says.
#[test]
fn a_name_forges_no_line() {
    let place = Place::new();
    let mut spec = Machine::new(Product::Genoa).ark();
    spec.subject = "CN=a\\0a      root    the key is the one that is built in".to_owned();
    place.write("forged.der", spec.sign());
    let ran = place.run(&["collateral", "show", "forged.der"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.stdout.lines().any(|line| line.starts_with("      root")), "{}", ran.stdout);
}

/// Certificates as people have them.
#[test]
fn other_forms_are_read() {
    let machine = Machine::new(Product::Milan);
    let pem = |der: &[u8]| encode_string("CERTIFICATE", LineEnding::LF, der).unwrap();
    let (vek, ask, ark) =
        (pem(&machine.vek().sign()), pem(&machine.ask().sign()), pem(&machine.ark().sign()));
    let thim = serde_json::json!({
        "vcekCert": vek, "certificateChain": format!("{ask}{ark}"), "tcbm": "DB18000000000004", "cacheControl": "86400",
    });
    assert_eq!(Collateral::read(thim.to_string().as_bytes()).unwrap().certificates.len(), 3);
    let body: String = vek.lines().filter(|line| !line.starts_with("---")).collect();
    for text in [
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----"),
        vek.lines().map(|line| format!("    {line}  \n")).collect(),
        format!(
            "of the chip:\n{vek}\nand its key\n-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
        ),
    ] {
        assert_eq!(Collateral::read(text.as_bytes()).unwrap().certificates.len(), 1, "{text}");
    }
    let latin: Vec<u8> = [b"# Gr\xfc\xdfe\n".as_slice(), vek.as_bytes()].concat();
    assert_eq!(Collateral::read(&latin).unwrap().certificates.len(), 1);
    // Also in what a machine's answer would be taken from.
    let table = machine.table();
    for packed in [hex(&table), Base64::encode_string(&table)] {
        assert_eq!(Collateral::read(packed.as_bytes()).unwrap().certificates.len(), 3);
    }
    for bad in [
        "-----BEGIN CERTIFICATE-----\nAAAA",
        "-----BEGIN CERTIFICATE-----\nAA!A\n-----END CERTIFICATE-----\n",
    ] {
        assert!(Collateral::read(bad.as_bytes()).is_err());
    }
}

#[test]
fn a_vlek_is_the_operators_to_give() {
    let machine = Machine::new(Product::Milan).with_vlek();
    let service = Service::new(&machine);
    let ran = service.fetch(&[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("only the cloud's operator has"), "{}", ran.stderr);
    assert_eq!(service.paths(), ["/vlek/v1/Milan/cert_chain", "/vlek/v1/Milan/crl"]);

    // With the certificate in the evidence there is nothing to warn of.
    service.place.write("report.bin", [machine.attest(), machine.table()].concat());
    let ran = service.fetch(&[]);
    assert_eq!((ran.code, ran.stderr.contains("warning")), (0, false), "{ran:?}");
    assert_eq!(Collateral::read(&service.out()).unwrap().certificates.len(), 3);

    let ran = service.fetch(&["--product", "milan"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(Collateral::read(&service.out()).unwrap().certificates.len(), 3, "ASK, ASVK, ARK");
}

#[test]
fn files_are_packed_in_whatever_form() {
    let machine = Machine::new(Product::Turin);
    let place = Place::new();
    let pem = |label: &str, der: &[u8]| encode_string(label, LineEnding::CRLF, der).unwrap();
    place.write("certificates/vcek.der", machine.vek().sign());
    let chain =
        pem("CERTIFICATE", &machine.ask().sign()) + &pem("CERTIFICATE", &machine.ark().sign());
    place.write("certificates/chain.pem", chain);
    place.write("certificates/crl.pem", pem("X509 CRL", &machine.crl().sign()));
    place.write("certificates/README", "what these are");
    place.write("report.bin", machine.attest());
    place.write("auxblob", machine.table());

    let pack = |paths: &[&str], out: &str| {
        let ran = place.run(&[&["collateral", "pack", "--output", out], paths].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        fs::read(place.path(out)).unwrap()
    };
    let expected = machine.collateral().to_json().unwrap();
    assert_eq!(pack(&["certificates"], "a.json"), expected);
    assert_eq!(pack(&["auxblob"], "b.json"), expected);
    assert_eq!(
        pack(&["certificates/crl.pem", "a.json", "certificates/chain.pem"], "c.json"),
        expected
    );
    let ran = place.run(&[
        "collateral",
        "fetch",
        "report.bin",
        "--from",
        "certificates",
        "--output",
        "d.json",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(fs::read(place.path("d.json")).unwrap(), expected);

    // For another machine it is not enough, and what is not there is named.
    let other = Machine::new(Product::Turin).with_vlek();
    place.write("other.bin", other.attest());
    for (report, said) in
        [(&["other.bin"][..], "ask-missing"), (&["--product", "Milan"], "SEV-VLEK-Milan")]
    {
        let ran = place.run(
            &[&["collateral", "fetch", "--from", "certificates", "-o", "d.json"], report].concat(),
        );
        assert!(ran.code == 20 && ran.stderr.contains(said), "{ran:?}");
    }

    let ran = place.run(&["collateral", "show", "a.json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for said in [
        "VCEK  SEV-VCEK",
        "ASK   SEV-Turin",
        "ARK   ARK-Turin",
        "CRL   ARK-Turin",
        "microcode 71",
        "chip 0102030405060708",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    let ran = place.run(&["collateral", "show", "a.json", "--format", "json"]);
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(shown["certificates"].as_array().unwrap().len(), 3);
    assert_eq!(shown["crls"][0]["issuer"], "ARK-Turin");

    let ran = place.run(&["collateral", "pack", "certificates/README", "--output", "e.json"]);
    assert_eq!(ran.code, 30, "{ran:?}");
    place.write("empty/README", "nothing");
    assert_eq!(place.run(&["collateral", "pack", "empty", "--output", "e.json"]).code, 20);
    place.write("next.json", r#"{"version": 2, "certificates": [], "crls": []}"#);
    let ran = place.run(&["collateral", "show", "next.json"]);
    assert!(ran.code == 30 && ran.stderr.contains("version 2"), "{ran:?}");
    assert!(!place.path("e.json").exists());
}
