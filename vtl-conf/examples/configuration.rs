//! Prints the configuration file that packages bring.

fn main() {
    print!("{}", vtl_conf::example());
}
