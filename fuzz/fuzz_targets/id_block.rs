//! Keys, signatures and ID blocks that somebody else made: reading them must end in a value or an
//! error, and what is read is written again as it was.
#![no_main]

use counterfoil::launch::id_block::{IdAuth, IdBlock, PrivateKey, PublicKey, Signature, Signer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let key = PublicKey::from_pem(bytes);
    let private = PrivateKey::from_pem(bytes.to_vec());
    assert!(key.is_err() || private.is_err());
    let _ = Signature::from_der(bytes);
    let Some((block, auth)) = bytes.split_at_checked(96) else { return };
    let Ok(block) = IdBlock::parse(block) else { return };
    assert_eq!(IdBlock::parse(&block.bytes()).as_ref(), Ok(&block));
    // Nobody's signature holds by chance, and no key is needed for one that does.
    if let Ok(read) = IdAuth::parse(auth, &block) {
        assert_eq!(IdAuth::parse(&read.bytes(), &block).as_ref(), Ok(&read));
    }
    if let Ok(made) = IdAuth::new(&block, &Signer::Keyless, None) {
        let mut bytes = made.bytes();
        assert_eq!(IdAuth::parse(&bytes, &block).as_ref(), Ok(&made));
        // The same with whatever else comes in the input over it.
        for (to, from) in bytes.iter_mut().zip(auth) {
            *to ^= from;
        }
        let _ = IdAuth::parse(&bytes, &block);
    }
});
