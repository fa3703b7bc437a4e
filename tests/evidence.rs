//! The evidence agent: the program of the guest as it is, over a directory that answers as the kernel does.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use counterfoil_init::evidence::report_data;
use serde_json::{Value, json};
use support::agent::{Agent, evidence, with_body};
use support::configfs::Simulated;

const NONCE: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A report that says what it is over, of the size that the security processor's have, and certificates.
fn reporter(data: [u8; 64]) -> (Vec<u8>, Vec<u8>) {
    let mut report = vec![0xee; 1184];
    report[0x50..0x90].copy_from_slice(&data);
    (report, b"some certificates".to_vec())
}

/// A directory of reports, and an agent over it.
fn started() -> (tempfile::TempDir, Simulated, Agent) {
    let place = tempfile::tempdir().unwrap();
    let simulated = Simulated::start(&place.path().join("report"), reporter);
    let agent = Agent::start(simulated.path());
    (place, simulated, agent)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn nonce() -> [u8; 32] {
    std::array::from_fn(|at| at as u8)
}

/// That the answer is evidence over exactly this.
#[track_caller]
fn is_over(answer: &Value, data: &[u8; 64]) {
    assert_eq!(answer["report_data"], json!(hex(data)));
    let report = Base64::decode_vec(answer["report"].as_str().unwrap()).unwrap();
    assert_eq!((report.len(), &report[0x50..0x90]), (1184, &data[..]));
}

#[test]
fn the_workload_chooses_report_data() {
    let (_place, _simulated, agent) = started();
    let data: [u8; 64] = std::array::from_fn(|at| 255 - at as u8);
    let answer = agent.local(with_body("POST", "/report", &data));
    assert_eq!(answer.status, 200);
    is_over(&answer.json(), &data);
    assert_eq!(
        answer.body,
        format!(
            "{{\"version\":1,\"provider\":\"sev_guest\",\"report\":\"{}\",\"certificates\":\"{}\",\
             \"report_data\":\"{}\",\"nonce\":null,\"binding\":null}}\n",
            answer.json()["report"].as_str().unwrap(),
            "c29tZSBjZXJ0aWZpY2F0ZXM=",
            hex(&data)
        )
    );
    assert_eq!(agent.first_line(), "counterfoil-evidence: reports are made by `sev_guest`");
}

#[test]
fn a_remote_caller_chooses_a_nonce_and_nothing_else() {
    let (_place, _simulated, agent) = started();
    let answer = agent.remote(evidence(NONCE));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["nonce"], json!(NONCE));
    assert_eq!(answer.json()["binding"], Value::Null);
    is_over(&answer.json(), &report_data(&nonce(), &[0; 32]));
    for request in [
        with_body("POST", "/report", &[1; 64]),
        with_body("PUT", "/binding", &[1; 32]),
        with_body("GET", "/report", b""),
        with_body("GET", "/", b""),
    ] {
        agent.remote(request).is_refused(404, "not-found");
    }
    let sneaking = format!("/evidence?nonce={NONCE}&report_data={}", "00".repeat(64));
    agent.remote(with_body("GET", &sneaking, b"")).is_refused(400, "bad-request");
    agent
        .remote(with_body("GET", &format!("/evidence?nonce={NONCE}"), &[1; 64]))
        .is_refused(400, "bad-request");
    // Nothing was bound by any of it.
    assert_eq!(agent.remote(evidence(NONCE)).json()["binding"], Value::Null);
}

#[test]
fn what_is_bound_is_bound_once() {
    let (_place, _simulated, agent) = started();
    let bound = agent.bind(&[7; 32]);
    assert_eq!(bound.status, 200);
    assert_eq!(bound.json(), json!({"version": 1, "binding": hex(&[7; 32])}));
    for answer in [agent.remote(evidence(NONCE)), agent.local(evidence(NONCE))] {
        assert_eq!(answer.json()["binding"], json!(hex(&[7; 32])));
        is_over(&answer.json(), &report_data(&nonce(), &[7; 32]));
    }
    assert_eq!(agent.bind(&[7; 32]).status, 200);
    agent.bind(&[8; 32]).is_refused(409, "binding-set");
    assert_eq!(agent.remote(evidence(NONCE)).json()["binding"], json!(hex(&[7; 32])));
    // A report of the workload's own is over its own bytes alone.
    let own = agent.local(with_body("POST", "/report", &[9; 64]));
    assert_eq!((&own.json()["nonce"], &own.json()["binding"]), (&Value::Null, &Value::Null));
}

#[test]
fn what_is_bound_outlives_the_agent() {
    let (_place, _simulated, mut agent) = started();
    agent.bind(&[0; 32]).is_refused(400, "bad-request");
    agent.again();
    assert_eq!(agent.remote(evidence(NONCE)).json()["binding"], Value::Null);
    assert_eq!(agent.bind(&[7; 32]).status, 200);
    for _ in 0..2 {
        agent.again();
        let answer = agent.remote(evidence(NONCE)).json();
        assert_eq!(answer["binding"], json!(hex(&[7; 32])));
        is_over(&answer, &report_data(&nonce(), &[7; 32]));
        agent.bind(&[8; 32]).is_refused(409, "binding-set");
        assert_eq!(agent.bind(&[7; 32]).status, 200);
    }
    // What cannot be told is not nothing.
    fs::write(agent.binding(), [7; 31]).unwrap();
    agent.remote(evidence(NONCE)).is_refused(503, "failed");
    agent.bind(&[8; 32]).is_refused(503, "failed");
    // As PID 1 does before the workload starts again.
    fs::write(agent.binding(), [0; 32]).unwrap();
    agent.again();
    assert_eq!(agent.remote(evidence(NONCE)).json()["binding"], Value::Null);
    assert_eq!(agent.bind(&[8; 32]).status, 200);
}

#[test]
fn requests_that_are_not_as_they_should_be() {
    let (_place, _simulated, mut agent) = started();
    for length in [0, 1, 31, 33, 63, 65, 4000, 50_000] {
        let body = vec![1; length];
        agent.local(with_body("POST", "/report", &body)).is_refused(400, "bad-request");
        agent.bind(&body).is_refused(400, "bad-request");
    }
    agent.local(with_body("POST", "/report", &[1; 32])).is_refused(400, "bad-request");
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
        let path = format!("/evidence?nonce={NONCE}");
        let answer = agent.remote(with_body(method, &path, b""));
        answer.is_refused(405, "method-not-allowed");
        assert!(answer.head.contains("Allow: GET\r\n"), "{answer:?}");
    }
    agent.local(with_body("PUT", "/report", &[1; 64])).is_refused(405, "method-not-allowed");
    agent.local(with_body("GET", "/binding", b"")).is_refused(405, "method-not-allowed");
    for nonce in ["", "00", &NONCE[2..], &NONCE.to_uppercase(), &[NONCE, "00"].concat()] {
        agent.remote(evidence(nonce)).is_refused(400, "bad-request");
    }
    for garbage in [
        &b""[..],
        b"\r\n\r\n",
        b"GET",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0; 4096],
        &[0xff; 50_000],
        b"GET /evidence HTTP/1.1\nHost: a\n\n",
        b"POST /report HTTP/1.1\r\nContent-Length: 64\r\n\r\nshort",
        b"POST /report HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n",
    ] {
        agent.remote(garbage).is_refused(400, "bad-request");
        agent.local(garbage).is_refused(400, "bad-request");
    }
    assert!(agent.runs());
    assert_eq!(agent.remote(evidence(NONCE)).status, 200);
}

#[test]
fn no_certificates_are_no_certificates() {
    let place = tempfile::tempdir().unwrap();
    let simulated =
        Simulated::start(&place.path().join("report"), |data| (reporter(data).0, Vec::new()));
    let agent = Agent::start(simulated.path());
    assert_eq!(agent.remote(evidence(NONCE)).json()["certificates"], json!(""));
    simulated.replace("auxblob", None);
    let answer = agent.remote(evidence(NONCE));
    assert_eq!((answer.status, &answer.json()["certificates"]), (200, &json!("")));
    simulated.fail("auxblob");
    agent.remote(evidence(NONCE)).is_refused(503, "failed");
}

#[test]
fn the_largest_blobs_have_room_and_no_larger_ones() {
    let place = tempfile::tempdir().unwrap();
    let (most, mut reports) = (32 * 1024, 0);
    let simulated = Simulated::start(&place.path().join("report"), move |_| {
        reports += 1;
        (vec![1; most + reports / 4], vec![2; most + reports / 2])
    });
    let agent = Agent::start(simulated.path());
    let answer = agent.remote(evidence(NONCE)).json();
    assert_eq!(Base64::decode_vec(answer["report"].as_str().unwrap()).unwrap(), vec![1; most]);
    assert_eq!(
        Base64::decode_vec(answer["certificates"].as_str().unwrap()).unwrap(),
        vec![2; most]
    );
    // Certificates that are too long are as none.
    for _ in 0..2 {
        let answer = agent.remote(evidence(NONCE)).json();
        assert_eq!(Base64::decode_vec(answer["report"].as_str().unwrap()).unwrap(), vec![1; most]);
        assert_eq!(answer["certificates"], json!(""));
    }
    assert_eq!(agent.said().matches("certificates are too long").count(), 1);
    agent.remote(evidence(NONCE)).is_refused(503, "failed");
}

#[test]
fn without_a_provider_it_says_so() {
    let place = tempfile::tempdir().unwrap();
    let no_provider = |directory: &Path| {
        let agent = Agent::start(directory);
        assert!(
            agent.first_line().contains(": no reports: this kernel offers no attestation provider")
        );
        agent.remote(evidence(NONCE)).is_refused(503, "no-provider");
        agent.local(with_body("POST", "/report", &[1; 64])).is_refused(503, "no-provider");
        assert_eq!(agent.bind(&[1; 32]).status, 200);
    };
    no_provider(&place.path().join("nothing"));
    // As where there is an entry and nothing in it.
    let bare = place.path().join("bare");
    fs::create_dir(&bare).unwrap();
    no_provider(&bare);
}

#[test]
fn a_provider_that_leaves() {
    let (_place, simulated, agent) = started();
    assert_eq!(agent.remote(evidence(NONCE)).status, 200);
    simulated.vanish();
    agent.remote(evidence(NONCE)).is_refused(503, "no-provider");
}

#[test]
fn a_report_that_may_be_of_another_is_none() {
    let (_place, simulated, agent) = started();
    simulated.others_write(1);
    agent.remote(evidence(NONCE)).is_refused(503, "conflict");
    simulated.others_write(0);
    assert_eq!(agent.remote(evidence(NONCE)).status, 200);
    simulated.replace("generation", Some("17\n"));
    agent.remote(evidence(NONCE)).is_refused(503, "conflict");
    simulated.replace("generation", Some("many\n"));
    agent.remote(evidence(NONCE)).is_refused(503, "failed");
}

#[test]
fn a_report_that_is_not_made() {
    let (_place, simulated, agent) = started();
    simulated.replace("outblob", Some(""));
    agent.remote(evidence(NONCE)).is_refused(503, "failed");
    simulated.fail("outblob");
    let answer = agent.remote(evidence(NONCE));
    answer.is_refused(503, "failed");
    assert_eq!(answer.json()["message"], json!("cannot get a report: error 21"));
}

#[test]
fn a_provider_whose_name_is_none() {
    let (_place, simulated, agent) = started();
    for name in ["", "\n", "a b\n", "\"},{\"", &"a".repeat(33)] {
        simulated.replace("provider", Some(name));
        agent.remote(evidence(NONCE)).is_refused(503, "failed");
    }
    simulated.replace("provider", Some("tdx_guest\n"));
    assert_eq!(agent.remote(evidence(NONCE)).json()["provider"], json!("tdx_guest"));
}

/// Many who connect and say nothing, a byte at a time, or do not read: none holds the workload up, and others
/// for a few seconds only.
#[test]
fn slow_callers_hold_nobody_up_for_long() {
    let (_place, _simulated, agent) = started();
    let mut slow: Vec<_> = (0..2).map(|_| TcpStream::connect(agent.address()).unwrap()).collect();
    slow[0].write_all(b"GET /evidence").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    for _ in 0..3 {
        let started = Instant::now();
        assert_eq!(agent.local(with_body("POST", "/report", &[1; 64])).status, 200);
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        slow[0].write_all(b"?").unwrap();
    }
    let started = Instant::now();
    assert_eq!(agent.remote(evidence(NONCE)).status, 200);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    // The slow ones were left, without an answer.
    let mut rest = String::new();
    slow[0].set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = slow[0].read_to_string(&mut rest);
    assert_eq!(rest, "");
    // Neither does the workload hold others up for long.
    let silent = UnixStream::connect(agent.socket()).unwrap();
    assert_eq!(agent.remote(evidence(NONCE)).status, 200);
    drop(silent);
}

/// More than have places, who say nothing: whoever asks has an answer soon, and the workload at once.
#[test]
fn idle_callers_hold_nobody_up_for_long() {
    let (_place, _simulated, agent) = started();
    let idle: Vec<_> = (0..40).map(|_| TcpStream::connect(agent.address()).unwrap()).collect();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let remote = scope.spawn(|| {
            assert_eq!(agent.remote(evidence(NONCE)).status, 200);
            started.elapsed()
        });
        while !remote.is_finished() {
            let started = Instant::now();
            assert_eq!(agent.local(with_body("POST", "/report", &[1; 64])).status, 200);
            assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        let took = remote.join().unwrap();
        assert!(took < Duration::from_secs(6), "{took:?}");
    });
    drop(idle);
}

/// Many who ask at once: some have to wait, some have to ask again, and the workload does neither.
#[test]
fn many_who_ask_do_not_hold_up_the_workload() {
    let (_place, _simulated, agent) = started();
    let mut statuses: Vec<_> = std::thread::scope(|scope| {
        let ask = || {
            let answer = agent.remote(evidence(NONCE));
            if answer.status != 200 {
                answer.is_refused(503, "busy");
            }
            answer.status
        };
        let remotes: Vec<_> = (0..30).map(|_| scope.spawn(ask)).collect();
        for _ in 0..20 {
            let started = Instant::now();
            assert_eq!(agent.local(with_body("POST", "/report", &[1; 64])).status, 200);
            assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        remotes.into_iter().map(|remote| remote.join().unwrap()).collect()
    });
    statuses.sort();
    let answered = statuses.iter().take_while(|status| **status == 200).count();
    assert!((8..30).contains(&answered), "{statuses:?}");
    assert_eq!(agent.remote(evidence(NONCE)).status, 200);
}

#[test]
fn it_takes_sockets_and_nothing_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("evidence");
    fs::write(&program, counterfoil::guest::EVIDENCE).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for arguments in [
        &[][..],
        &["/tmp"],
        &["/tmp", "0", "0"],
        &["/tmp", "7777", "7778"],
        &["/tmp", "-1", "-1"],
        &["/tmp", "x", "x"],
    ] {
        let output = loop {
            match std::process::Command::new(&program).args(arguments).output() {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
                output => break output.unwrap(),
            }
        };
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
