//! Link arguments of the shared object: it is never unmapped (a poller thread and
//! resource destructors may outlive a code purge) and it is hardened.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,relro,-z,now,-z,noexecstack");
    println!("cargo:rerun-if-changed=build.rs");
}
