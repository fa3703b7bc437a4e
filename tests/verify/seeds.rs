//! Where fuzzing begins: `cargo test --test verify seeds -- --ignored` writes it below `fuzz/corpus`.

use std::fs;
use std::path::Path;

use base64ct::{Base64, Encoding as _};
use counterfoil::report::describe::hex;
use counterfoil::report::{Product, policy};
use der::pem::{LineEnding, encode_string};

use crate::support::amd::Machine;

#[test]
#[ignore = "writes files for fuzzing"]
fn seeds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(corpus.join(target)).unwrap();
        fs::write(corpus.join(target).join(name), bytes).unwrap();
    };
    for product in Product::ALL {
        for (signer, machine) in
            [("vcek", Machine::new(product)), ("vlek", Machine::new(product).with_vlek())]
        {
            let name = |what: &str| format!("{product}-{signer}-{what}");
            let (report, table) = (machine.attest(), machine.table());
            put("report", &name("report"), &report);
            put("evidence", &name("report"), &report);
            put("evidence", &name("extended"), &[report.clone(), table.clone()].concat());
            put("evidence", &name("hex"), hex(&report).as_bytes());
            let base64 = Base64::encode_string(&report);
            put("evidence", &name("base64"), base64.as_bytes());
            put("evidence", &name("json"), format!("{{\"report\":\"{base64}\"}}").as_bytes());
            let data = hex(&report[0x50..0x90]);
            let certificates = Base64::encode_string(&table);
            let agent = format!(
                "{{\"version\":1,\"provider\":\"sev_guest\",\"report\":\"{base64}\",\"certificates\":\"{certificates}\",\
                 \"report_data\":\"{data}\",\"nonce\":null,\"binding\":null}}"
            );
            put("evidence", &name("agent"), agent.as_bytes());
            put("certificate", &name("table"), &table);
            put("certificate", &name("json"), &machine.collateral().to_json().unwrap());
            for (what, spec) in
                [("vek", machine.vek()), ("ask", machine.ask()), ("ark", machine.ark())]
            {
                let der = spec.sign();
                put("certificate", &name(what), &der);
                let pem = encode_string("CERTIFICATE", LineEnding::LF, &der).unwrap();
                put("certificate", &name(&format!("{what}.pem")), pem.as_bytes());
            }
            let mut crl = machine.crl();
            put("crl", &name("empty"), &crl.sign());
            crl.revoked = vec![1, 2, 0x10001];
            put("crl", &name("revoked"), &crl.sign());
        }
    }
    put("policy", "default", policy::DEFAULT.as_bytes());
    put("policy", "short", b"version: 1\nreport-data: {labelled: any}\nchip-ids: null\n");
}
