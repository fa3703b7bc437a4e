//! What JavaScript sees: a function that makes room for a message, and one for each question.
//!
//! ```text
//! at = counterfoil_alloc(length); memory[at..][..length] = message
//! at = counterfoil_verify(at, length)
//! answer = memory[at + 4..][..u32 at `at`, little-endian]      (JSON, UTF-8)
//! ```
//!
//! Nothing is freed: an instance of the module answers one message and is thrown away with its memory, so
//! that no check knows of the one before it.
#![allow(unsafe_code)]

use counterfoil::error::Result;
use serde_json::Value;

/// Room for a message of `length` bytes.
#[unsafe(no_mangle)]
pub extern "C" fn counterfoil_alloc(length: usize) -> *mut u8 {
    Box::leak(vec![0; length].into_boxed_slice()).as_mut_ptr()
}

/// [`crate::recognise`].
///
/// # Safety
/// `message` is from [`counterfoil_alloc`], with the same length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_recognise(message: *const u8, length: usize) -> *const u8 {
    // SAFETY: the caller's.
    unsafe { ask(message, length, crate::recognise) }
}

/// [`crate::verify`].
///
/// # Safety
/// `message` is from [`counterfoil_alloc`], with the same length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_verify(message: *const u8, length: usize) -> *const u8 {
    // SAFETY: the caller's.
    unsafe { ask(message, length, crate::verify) }
}

/// [`crate::describe`].
///
/// # Safety
/// `message` is from [`counterfoil_alloc`], with the same length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_describe(message: *const u8, length: usize) -> *const u8 {
    // SAFETY: the caller's.
    unsafe { ask(message, length, crate::describe) }
}

unsafe fn ask(
    message: *const u8,
    length: usize,
    question: fn(&[u8]) -> Result<Value>,
) -> *const u8 {
    // SAFETY: `counterfoil_alloc` made so many bytes there, set all of them, and nobody ever frees them.
    // Whoever wrote the message into them is JavaScript, which does nothing else until this returns.
    let message = unsafe { std::slice::from_raw_parts(message, length) };
    let json = crate::answer(question(message)).to_string().into_bytes();
    // An address space of 4 GiB holds no longer one.
    let length = u32::try_from(json.len()).unwrap_or_default();
    let answer = [&length.to_le_bytes()[..], &json].concat();
    Box::leak(answer.into_boxed_slice()).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_length_and_json() {
        let message = b"no message at all";
        let at = counterfoil_alloc(message.len());
        // SAFETY: so many bytes were allocated there; and the answer is as the module says.
        let json = unsafe {
            at.copy_from_nonoverlapping(message.as_ptr(), message.len());
            let answer = counterfoil_verify(at, message.len());
            let length = u32::from_le_bytes(answer.cast::<[u8; 4]>().read());
            std::slice::from_raw_parts(answer.add(4), length as usize)
        };
        let answer: Value = serde_json::from_slice(json).unwrap();
        assert!(answer["error"]["says"].as_str().unwrap().contains("message"), "{answer}");
    }
}
