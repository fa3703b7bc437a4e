//! Writes `manifests/models/tiny.gguf`: a language model of noise, so small that it can live in
//! the repository, and so fixed that a test can name the tokens it will answer.
//!
//! `cargo run --example tiny_gguf -- OUT`
//!
//! The file is the same wherever it is made. Each weight is an integer from [`SplitMix64`] times a
//! power of two, which is exact in an `f32`: nothing is rounded, and no library function is called.
//!
//! What it answers to the prompt in `manifests/models/README.md` is the same wherever it runs,
//! although servers sum in different orders on different processors: the weights are stored as
//! `f32`, and [`SEED`] was chosen among many because there the best token stays far ahead of the
//! second best.
//!
//! Section names in comments are those of the GGUF specification, version 3:
//! <https://github.com/ggml-org/ggml/blob/01f0d4da3e444ca2bfe705e72adab08a4394bb1d/docs/gguf.md>

#![allow(clippy::print_stderr, reason = "it is a program, and this is how one complains")]

use std::process::ExitCode;

/// Chosen by trial; see the module's documentation.
const SEED: u64 = 569;

const CONTEXT: u32 = 256;
const EMBEDDING: u32 = 32;
const BLOCKS: u32 = 2;
const FEED_FORWARD: u32 = 64;
const HEADS: u32 = 2;
/// One for both heads, so that the example exercises grouped-query attention as real models do.
const KV_HEADS: u32 = 1;
const HEAD: u32 = EMBEDDING / HEADS;
const KV_EMBEDDING: u32 = HEAD * KV_HEADS;

/// `<unk>`, `<s>` and `</s>`; a token for each byte follows.
const SPECIAL_TOKENS: u32 = 3;
const VOCABULARY: u32 = SPECIAL_TOKENS + 256;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(out), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: tiny_gguf OUT");
        return ExitCode::from(2);
    };
    match std::fs::write(&out, tiny_gguf()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write `{}`: {error}", out.display());
            ExitCode::FAILURE
        }
    }
}

/// The whole file.
pub(crate) fn tiny_gguf() -> Vec<u8> {
    let mut gguf = Gguf::default();
    describe(&mut gguf);
    tokenizer(&mut gguf);
    weights(&mut gguf);
    gguf.finish()
}

fn describe(gguf: &mut Gguf) {
    // "Standardized key-value pairs", "General", "Required". No tensor is quantised, so there is
    // no quantisation version to state.
    gguf.string("general.architecture", "llama");
    gguf.uint32("general.alignment", ALIGNMENT);

    // "General metadata"
    gguf.string("general.name", "counterfoil tiny");
    gguf.string("general.description", "random weights, for tests; its answers mean nothing");
    gguf.string("general.license", "MIT OR Apache-2.0");
    gguf.uint32("general.file_type", ALL_F32);

    // "Models", "LLaMA": each of these is required, and `head_count_kv` is optional.
    gguf.uint32("llama.context_length", CONTEXT);
    gguf.uint32("llama.embedding_length", EMBEDDING);
    gguf.uint32("llama.block_count", BLOCKS);
    gguf.uint32("llama.feed_forward_length", FEED_FORWARD);
    gguf.uint32("llama.rope.dimension_count", HEAD);
    gguf.uint32("llama.attention.head_count", HEADS);
    gguf.uint32("llama.attention.head_count_kv", KV_HEADS);
    // A power of two near the usual 1e-5.
    gguf.float32("llama.attention.layer_norm_rms_epsilon", 1.0 / 65536.0);
}

fn tokenizer(gguf: &mut Gguf) {
    // "Tokenizer", "GGML". `llama` is SentencePiece with byte fallback: text that no other token
    // covers becomes one token a byte, and here no other token exists.
    let mut tokens = vec!["<unk>".to_owned(), "<s>".to_owned(), "</s>".to_owned()];
    tokens.extend((0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>")));
    let mut types = vec![TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_CONTROL];
    types.extend([TOKEN_BYTE; 256]);

    gguf.string("tokenizer.ggml.model", "llama");
    gguf.strings("tokenizer.ggml.tokens", &tokens);
    gguf.float32s("tokenizer.ggml.scores", &[0.0; VOCABULARY as usize]);
    gguf.int32s("tokenizer.ggml.token_type", &types);
    gguf.uint32("tokenizer.ggml.unknown_token_id", 0);
    gguf.uint32("tokenizer.ggml.bos_token_id", 1);
    gguf.uint32("tokenizer.ggml.eos_token_id", 2);
    // Not in the specification, but llama.cpp reads both.
    gguf.bool("tokenizer.ggml.add_bos_token", true);
    gguf.bool("tokenizer.ggml.add_space_prefix", false);
}

fn weights(gguf: &mut Gguf) {
    let mut noise = SplitMix64(SEED);

    // "Standardized tensor names", "Base layers". A matrix from `n` numbers to `m` has dimensions
    // [n, m]: the first is the one whose elements lie side by side.
    gguf.tensor("token_embd.weight", &[EMBEDDING, VOCABULARY], || noise.weight(1.0));

    // "Attention and feed-forward layer blocks"
    for block in 0..BLOCKS {
        let name = |tensor: &str| format!("blk.{block}.{tensor}.weight");
        gguf.tensor(&name("attn_norm"), &[EMBEDDING], || 1.0);
        gguf.tensor(&name("attn_q"), &[EMBEDDING, EMBEDDING], || noise.weight(0.5));
        gguf.tensor(&name("attn_k"), &[EMBEDDING, KV_EMBEDDING], || noise.weight(0.5));
        gguf.tensor(&name("attn_v"), &[EMBEDDING, KV_EMBEDDING], || noise.weight(0.5));
        gguf.tensor(&name("attn_output"), &[EMBEDDING, EMBEDDING], || noise.weight(0.5));
        gguf.tensor(&name("ffn_norm"), &[EMBEDDING], || 1.0);
        gguf.tensor(&name("ffn_gate"), &[EMBEDDING, FEED_FORWARD], || noise.weight(0.5));
        gguf.tensor(&name("ffn_up"), &[EMBEDDING, FEED_FORWARD], || noise.weight(0.5));
        gguf.tensor(&name("ffn_down"), &[FEED_FORWARD, EMBEDDING], || noise.weight(0.5));
    }

    gguf.tensor("output_norm.weight", &[EMBEDDING], || 1.0);

    // The model can only say lower-case letters and spaces. Every other token's row is zero, and
    // so is its logit, below the best of 27 random ones: the answer is always printable text, and
    // never ends early.
    let mut cell = 0;
    gguf.tensor("output.weight", &[EMBEDDING, VOCABULARY], || {
        let token = cell / EMBEDDING;
        cell += 1;
        let byte = token.checked_sub(SPECIAL_TOKENS).and_then(|byte| u8::try_from(byte).ok());
        match byte {
            Some(b' ' | b'a'..=b'z') => noise.weight(1.0),
            _ => 0.0,
        }
    });
}

/// Sebastiano Vigna's splitmix64: <https://prng.di.unimi.it/splitmix64.c>.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Uniform in [-`bound`, `bound`). `bound` is a power of two, so that neither step rounds.
    fn weight(&mut self, bound: f32) -> f32 {
        let [low, high, ..] = self.next().to_le_bytes();
        f32::from(i16::from_le_bytes([low, high])) / 32768.0 * bound
    }
}

// "File Structure": `general.alignment`, and the values of its enumerations that are used here.
const ALIGNMENT: u32 = 32;
const ALL_F32: u32 = 0;
const GGML_TYPE_F32: u32 = 0;
const UINT32: u32 = 4;
const INT32: u32 = 5;
const FLOAT32: u32 = 6;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

// "Tokenizer", "GGML": `tokenizer.ggml.token_type`.
const TOKEN_UNKNOWN: i32 = 2;
const TOKEN_CONTROL: i32 = 3;
const TOKEN_BYTE: i32 = 6;

/// The three parts of a `gguf_file_t`, and how many elements the first two have.
#[derive(Default)]
struct Gguf {
    metadata: Vec<u8>,
    metadata_count: u64,
    infos: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

impl Gguf {
    fn string(&mut self, key: &str, value: &str) {
        self.key(key, STRING);
        put_string(&mut self.metadata, value);
    }

    fn uint32(&mut self, key: &str, value: u32) {
        self.key(key, UINT32);
        self.metadata.extend(value.to_le_bytes());
    }

    fn float32(&mut self, key: &str, value: f32) {
        self.key(key, FLOAT32);
        self.metadata.extend(value.to_le_bytes());
    }

    fn bool(&mut self, key: &str, value: bool) {
        self.key(key, BOOL);
        self.metadata.push(value.into());
    }

    fn strings(&mut self, key: &str, values: &[String]) {
        self.array(key, STRING, values.len());
        for value in values {
            put_string(&mut self.metadata, value);
        }
    }

    fn int32s(&mut self, key: &str, values: &[i32]) {
        self.array(key, INT32, values.len());
        self.metadata.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn float32s(&mut self, key: &str, values: &[f32]) {
        self.array(key, FLOAT32, values.len());
        self.metadata.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn array(&mut self, key: &str, element: u32, len: usize) {
        self.key(key, ARRAY);
        self.metadata.extend(element.to_le_bytes());
        self.metadata.extend((len as u64).to_le_bytes());
    }

    /// `gguf_metadata_kv_t` up to its value.
    fn key(&mut self, key: &str, value_type: u32) {
        self.metadata_count += 1;
        put_string(&mut self.metadata, key);
        self.metadata.extend(value_type.to_le_bytes());
    }

    /// `gguf_tensor_info_t`, and the data that it locates.
    fn tensor(&mut self, name: &str, dimensions: &[u32], mut element: impl FnMut() -> f32) {
        self.tensor_count += 1;
        put_string(&mut self.infos, name);
        self.infos.extend((dimensions.len() as u32).to_le_bytes());
        for &dimension in dimensions {
            self.infos.extend(u64::from(dimension).to_le_bytes());
        }
        self.infos.extend(GGML_TYPE_F32.to_le_bytes());
        self.infos.extend((self.data.len() as u64).to_le_bytes());

        for _ in 0..dimensions.iter().product() {
            self.data.extend(element().to_le_bytes());
        }
        align(&mut self.data);
    }

    /// `gguf_file_t`: header, metadata, tensor infos, padding, tensor data.
    fn finish(self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(self.tensor_count.to_le_bytes());
        file.extend(self.metadata_count.to_le_bytes());
        file.extend(self.metadata);
        file.extend(self.infos);
        align(&mut file);
        file.extend(self.data);
        file
    }
}

/// `gguf_string_t`
fn put_string(bytes: &mut Vec<u8>, string: &str) {
    bytes.extend((string.len() as u64).to_le_bytes());
    bytes.extend(string.as_bytes());
}

fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
}
