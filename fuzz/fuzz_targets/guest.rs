//! What PID 1 reads: its plan, and a DHCP server's replies.
#![no_main]

use counterfoil_init::dhcp::{Client, Mac, Reply};
use counterfoil_init::plan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && plan::Plan::parse(text).is_ok()
    {
        let directives: Vec<_> = plan::parse(text).map(|line| line.expect("parsed")).collect();
        let mut again = String::new();
        plan::write(&directives, &mut again).expect("what is read can be written");
        assert_eq!(again, text, "a plan has one spelling");
    }
    let mac: Mac = [2, 0, 0, 0, 0, 1];
    let _ = Reply::read(bytes, mac, 7);
    let mut client = Client::new(mac, 7, 0);
    let _ = client.act(0);
    let _ = client.receive(bytes, 1);
});
