//! Proofs by the letter.

use proptest::prelude::*;

use super::*;

const HASH: &str = "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=";
const CHECKPOINT: &str = "example.com/fancylog\n109482\nsFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\n\
    \u{2014} example.com/fancylog AAAAAQI=\n";

fn of(above: &str) -> String {
    format!("{HEADER}\n{above}\n{CHECKPOINT}")
}

/// tlog-proof's example, with a whole signature.
#[test]
fn the_example_of_the_specification_is_read() {
    let hashes = "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\nB95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n\
        EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=\nRoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=\n\
        AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=\n";
    let text = of(&format!("extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQ=\nindex 73894\n{hashes}"));
    let proof = Proof::parse(&text).unwrap();
    assert_eq!((proof.index, proof.hashes.len()), (73894, 5));
    assert_eq!(proof.extra.as_deref(), Some(b"age-v1.2.1-darwin-arm64".as_slice()));
    assert_eq!(proof.tree_head().unwrap().size, 109_482);
    assert_eq!(proof.to_string(), text);
    // The only leaf of a tree needs no hash.
    let text = of("index 0\n");
    assert_eq!(Proof::parse(&text).unwrap().to_string(), text);
}

#[test]
fn what_is_no_proof() {
    for (text, expected) in [
        (String::new(), ProofError::NoCheckpoint),
        (format!("{HEADER}\nindex 1\n{HASH}\n"), ProofError::NoCheckpoint),
        (of("index 1\n").replace("@v1", "@v2"), ProofError::Header),
        (of("index 1\n").replacen('\n', "\r\n", 1), ProofError::Header),
        (of(""), ProofError::Index),
        (of("index 01\n"), ProofError::Index),
        (of("index -1\n"), ProofError::Index),
        (of("index 18446744073709551616\n"), ProofError::Index),
        (of("Index 1\n"), ProofError::Index),
        (of("extra YQ==\n"), ProofError::Index),
        (of("extra YQ==\nextra YQ==\nindex 1\n"), ProofError::Index),
        (of("extra \nindex 1\n"), ProofError::Extra),
        (of("extra YQ\nindex 1\n"), ProofError::Extra),
        (of("extra YR==\nindex 1\n"), ProofError::Extra),
        (of("index 1\nextra YQ==\n"), ProofError::Hash(3)),
        (of(&format!("index 1\n{HASH}\n{}\n", &HASH[4..])), ProofError::Hash(4)),
        (of(&format!("index 1\n{}", format!("{HASH}\n").repeat(65))), ProofError::Hashes),
        (of("index 1\n").replace("AAAAAQI=", "AAAAAQI"), {
            ProofError::Note(NoteError::Line("\u{2014} example.com/fancylog AAAAAQI".to_owned()))
        }),
        (of("index 1\n").replace("109482", "0109482"), CheckpointError::Size.into()),
        ("a".repeat(MAX + 1), ProofError::Size(MAX + 1)),
    ] {
        let shown: String = text.chars().take(80).collect();
        assert_eq!(Proof::parse(&text), Err(expected), "{shown:?}");
    }
    assert_eq!(Proof::from_bytes(b"\xff"), Err(ProofError::Encoding));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        extra in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..99)),
        index: u64,
        hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..=MAX_HASHES),
    ) {
        let hashes = hashes.into_iter().map(Sha256).collect();
        let proof = Proof { extra, index, hashes, checkpoint: CHECKPOINT.parse().unwrap() };
        let text = proof.to_string();
        let read = Proof::parse(&text).unwrap();
        prop_assert_eq!(read.to_string(), text);
        prop_assert_eq!(read, proof);
    }

    #[test]
    fn what_is_read_is_written(lines in proptest::collection::vec(0..6_usize, 0..6), at in 0..400_usize, byte: u8) {
        let line = |number| ["index 7\n", "extra YQ==\n", "\n", "index 0\n", HASH, "\n"][number];
        let mut bytes = of(&lines.into_iter().map(line).collect::<String>()).into_bytes();
        let at = at % bytes.len();
        for change in [false, true] {
            if change {
                bytes[at] = byte;
            }
            if let Ok(proof) = Proof::from_bytes(&bytes) {
                prop_assert_eq!(proof.to_string().into_bytes(), bytes.clone());
            }
        }
    }
}
