//! Notes by the letter.

use proptest::prelude::*;

use super::*;

const LINE: &str = "\u{2014} a AAAAAQI=\n";

fn parse(text: &str) -> Result<Note, NoteError> {
    Note::parse(text)
}

#[test]
fn the_last_empty_line_parts_text_from_signatures() {
    let note = parse(&format!("a\n\nb\n\n\n{LINE}{LINE}")).unwrap();
    assert_eq!((note.text.as_str(), note.signatures.len()), ("a\n\nb\n\n", 2));
    assert_eq!(note.signatures[0].bytes, [2]);
    assert_eq!(note.signatures[0].id, [0, 0, 0, 1]);
    // A line of the text may look like a signature.
    let note = parse(&format!("{LINE}\n{LINE}")).unwrap();
    assert_eq!((note.text.as_str(), note.signatures.len()), (LINE, 1));
}

#[test]
fn the_examples_of_the_specification_are_read() {
    // tlog-cosignature: the time in the signature is that of the signed message.
    let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        \u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let note = parse(text).unwrap();
    assert_eq!(note.to_string(), text);
    assert_eq!(note.signatures[1].name, "witness.example.com/w1");
    assert_eq!(note.signatures[1].bytes[..8], 1_679_315_147_u64.to_be_bytes());
    // tlog-witness: three lines by two witnesses.
    let lines = "\u{2014} witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==\n\
        \u{2014} witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==\n\
        \u{2014} witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==\n";
    let read = Signature::parse_lines(lines).unwrap();
    let written: String = read.iter().map(|line| format!("{line}\n")).collect();
    assert_eq!((read.len(), written.as_str()), (3, lines));
}

#[test]
fn what_is_no_note() {
    let wrong = |line: &str| NoteError::Line(line.to_owned());
    for (text, expected) in [
        (String::new(), NoteError::Unended),
        ("a\n".to_owned(), NoteError::NoSignatures),
        ("a\n\n".to_owned(), NoteError::NoSignatures),
        (format!("a\n{LINE}"), NoteError::NoSignatures),
        (format!("\n{LINE}"), NoteError::NoSignatures),
        (format!("a\n\n{}", LINE.trim_end()), NoteError::Unended),
        (format!("a\n\n{LINE}\n"), NoteError::NoSignatures),
        (format!("a\n\n{LINE}b\n"), wrong("b")),
        (format!("a\r\n\n{LINE}"), NoteError::Control(1)),
        (format!("a\n\tb\n\n{LINE}"), NoteError::Control(2)),
        (format!("a\n\0\n\n{LINE}"), NoteError::Control(2)),
        ("a\n\n- a AAAAAQI=\n".to_owned(), wrong("- a AAAAAQI=")),
        ("a\n\n\u{2013} a AAAAAQI=\n".to_owned(), wrong("\u{2013} a AAAAAQI=")),
        (format!("a\n\n{}", LINE.repeat(65)), NoteError::Signatures(65)),
        ("a".repeat(MAX_BYTES + 1), NoteError::Size(MAX_BYTES + 1)),
    ] {
        let shown: String = text.chars().take(40).collect();
        // A trailing empty line moves the last one: there is no signature below it.
        let found = parse(&text).unwrap_err();
        let same = found == expected || text.ends_with("\n\n");
        assert!(same, "{shown:?}: {found:?}");
    }
    assert_eq!(Note::from_bytes(b"a\xff\n\n"), Err(NoteError::Encoding));
    assert_eq!(parse(&format!("a\n\n{}", LINE.repeat(64))).unwrap().signatures.len(), 64);
}

#[test]
fn what_is_no_signature_line() {
    for line in [
        "\u{2014} a",
        "\u{2014} a ",
        "\u{2014}  AAAAAQI=",
        "\u{2014} a+b AAAAAQI=",
        "\u{2014} a\u{a0}b AAAAAQI=",
        "\u{2014} a\u{2003}b AAAAAQI=",
        "\u{2014} a b AAAAAQI=",
        "\u{2014} a AAAAAQI= ",
        // No signature behind the id, no padding, bits that are not zero behind the last byte, another alphabet.
        "\u{2014} a AAAAAQ==",
        "\u{2014} a AAAAAQI",
        "\u{2014} a AAAAAQJ=",
        "\u{2014} a AAAAAQ_=",
        "\u{2014} a AAAA\u{2003}",
    ] {
        assert!(line.parse::<Signature>().is_err(), "{line}");
    }
}

#[test]
fn a_key_signs_once() {
    let mut note = parse(&format!("a\n\n{LINE}\u{2014} b AAAAAQI=\n")).unwrap();
    note.add(Signature { bytes: vec![3], ..note.signatures[0].clone() });
    assert_eq!(note.signatures.len(), 2);
    assert_eq!((note.signatures[1].name.as_str(), &note.signatures[1].bytes[..]), ("a", &[3][..]));
}

/// Notes, and texts that are nearly notes.
pub(in crate::log) fn nearly() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n".to_owned()),
        Just("\n\n".to_owned()),
        Just(LINE.to_owned()),
        Just("\u{2014} ".to_owned()),
        Just(" AAAAAQI=\n".to_owned()),
        "[a-zA-Z0-9+/=\u{2014} \t\u{a0}]{0,12}",
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_read_is_written(text in nearly()) {
        if let Ok(note) = parse(&text) {
            prop_assert_eq!(note.to_string(), text);
        }
    }

    #[test]
    fn what_is_written_is_read(
        text in "([ -~\u{e4}\u{2014}]{0,9}\n){1,6}",
        lines in proptest::collection::vec(("[!-*,-~\u{e4}]{1,9}", any::<[u8; 4]>(), proptest::collection::vec(any::<u8>(), 1..99)), 1..9),
    ) {
        let signature = |(name, id, bytes)| Signature { name, id, bytes };
        let note = Note { text, signatures: lines.into_iter().map(signature).collect() };
        prop_assert_eq!(parse(&note.to_string()).unwrap(), note);
    }
}
