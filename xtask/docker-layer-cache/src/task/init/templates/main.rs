//! The tasks of this workspace, run with `cargo xtask`.

fn main() -> std::process::ExitCode {
    docker_layer_cache::main()
}
