//! What the program of a container is and sees, from its image's defaults and what was asked for.

use super::ContainerSpec;
use crate::image::ImageConfig;

/// Where programs are looked up if the image does not say. *Source:* Docker.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Program and arguments. A given entrypoint drops the image's command too, as in Docker.
#[must_use]
pub fn command(spec: &ContainerSpec, image: &ImageConfig) -> Vec<String> {
    let (entrypoint, arguments) = match (spec.entrypoint.is_empty(), spec.args.is_empty()) {
        (false, _) => (&spec.entrypoint, &spec.args),
        (true, false) => (&image.entrypoint, &spec.args),
        (true, true) => (&image.entrypoint, &image.cmd),
    };
    [entrypoint.as_slice(), arguments].concat()
}

/// Environment: defaults, over them the image's, over them the request's. A name without `=` in the request removes it.
#[must_use]
pub fn environment(spec: &ContainerSpec, image: &ImageConfig, hostname: &str) -> Vec<String> {
    let mut env = vec![format!("PATH={PATH}"), format!("HOSTNAME={hostname}")];
    for entry in image.env.iter().chain(&spec.env) {
        let name = entry.split('=').next().unwrap_or_default();
        let same = |e: &String| e.split('=').next() == Some(name);
        match (env.iter().position(same), entry.contains('=')) {
            (Some(at), true) => env[at].clone_from(entry),
            (Some(at), false) => drop(env.remove(at)),
            (None, true) => env.push(entry.clone()),
            (None, false) => {}
        }
    }
    env
}

/// Working directory, absolute.
#[must_use]
pub fn workdir(spec: &ContainerSpec, image: &ImageConfig) -> String {
    let wanted = spec.workdir.as_deref().or(image.working_dir.as_deref()).unwrap_or("/");
    if wanted.starts_with('/') { wanted.to_owned() } else { format!("/{wanted}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    fn image() -> ImageConfig {
        let (entrypoint, cmd) = (own(&["/entry"]), own(&["serve"]));
        ImageConfig { entrypoint, cmd, env: own(&["A=image", "B=image"]), ..ImageConfig::default() }
    }

    #[test]
    fn given_entrypoint_drops_the_images_command() {
        let cases: [(&[&str], &[&str], &[&str]); 4] = [
            (&[], &[], &["/entry", "serve"]),
            (&[], &["x"], &["/entry", "x"]),
            (&["/mine"], &[], &["/mine"]),
            (&["/mine"], &["x"], &["/mine", "x"]),
        ];
        for (entrypoint, args, expected) in cases {
            let spec = ContainerSpec { entrypoint: own(entrypoint), args: own(args), ..ContainerSpec::default() };
            assert_eq!(command(&spec, &image()), own(expected));
        }
    }

    #[test]
    fn request_overrides_and_removes_variables() {
        let spec = ContainerSpec { env: own(&["B=mine", "A", "C=new=er", "NONE"]), ..ContainerSpec::default() };
        let env = environment(&spec, &image(), "web");
        assert_eq!(env[1..], own(&["HOSTNAME=web", "B=mine", "C=new=er"]));
    }

    #[test]
    fn working_directory_is_absolute() {
        let spec = ContainerSpec { workdir: Some("srv".to_owned()), ..ContainerSpec::default() };
        assert_eq!(workdir(&spec, &image()), "/srv");
        assert_eq!(workdir(&ContainerSpec::default(), &image()), "/");
    }
}
