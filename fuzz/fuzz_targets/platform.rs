#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| docker_layer_cache::fuzzing::platform(input));
