#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| docker_layer_cache::fuzzing::image_layout(input));
