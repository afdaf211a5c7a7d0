//! Images.

use serde_json::{Value, json};
use skep_proto::pb;

use super::or_null;

/// An image as `image inspect` shows it.
pub(crate) fn image(image: &pb::Image) -> Value {
    json!({
        "Id": image.id,
        "RepoTags": image.references,
        "RepoDigests": [],
        "Created": image.created,
        "Config": config(image),
        "Architecture": image.architecture,
        "Os": image.os,
        "Size": image.size_bytes,
        "VirtualSize": image.size_bytes,
        "RootFS": {"Type": "layers", "Layers": or_null(image.layers.clone())},
    })
}

fn config(image: &pb::Image) -> Value {
    let ports: serde_json::Map<String, Value> =
        image.exposed_ports.iter().map(|port| (port.clone(), json!({}))).collect();
    json!({
        "User": image.user,
        "ExposedPorts": if ports.is_empty() { Value::Null } else { ports.into() },
        "Env": or_null(image.env.clone()),
        "Cmd": or_null(image.cmd.clone()),
        "WorkingDir": image.working_dir,
        "Entrypoint": or_null(image.entrypoint.clone()),
        "Labels": if image.labels.is_empty() { Value::Null } else { json!(image.labels) },
        "StopSignal": super::text_or_null(&image.stop_signal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_dockers_nesting() {
        let shown = image(&pb::Image {
            id: "sha256:f0".into(),
            references: vec!["busybox:latest".into()],
            cmd: vec!["sh".into()],
            exposed_ports: vec!["80/tcp".into()],
            size_bytes: 7,
            layers: vec!["sha256:ab".into()],
            ..Default::default()
        });
        assert_eq!(shown["Id"], "sha256:f0");
        assert_eq!(shown["RepoTags"], json!(["busybox:latest"]));
        assert_eq!(shown["Config"]["Cmd"], json!(["sh"]));
        assert_eq!(shown["Config"]["ExposedPorts"], json!({"80/tcp": {}}));
        assert_eq!(shown["Config"]["Entrypoint"], Value::Null);
        assert_eq!(shown["Size"], 7);
        assert_eq!(shown["RootFS"]["Layers"], json!(["sha256:ab"]));
    }
}
