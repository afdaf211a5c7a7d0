//! What a container sees and may do.

use skep_runtime::ContainerSpec;

use crate::Test;
use crate::support::{id, in_world, run, shell, spec};

pub(crate) const TESTS: &[Test] = &[
    ("namespaces_are_its_own", namespaces_are_its_own),
    ("capabilities_and_filter_are_dockers", capabilities_and_filter_are_dockers),
    ("added_and_dropped_capabilities_count", added_and_dropped_capabilities_count),
    ("forbidden_calls_are_refused", forbidden_calls_are_refused),
    ("machines_secrets_are_masked", machines_secrets_are_masked),
    ("read_only_root_takes_no_file", read_only_root_takes_no_file),
    ("written_files_do_not_reach_the_layer", written_files_do_not_reach_the_layer),
    ("user_is_looked_up_in_the_image", user_is_looked_up_in_the_image),
    ("standard_files_and_nodes_are_there", standard_files_and_nodes_are_there),
    ("directories_that_the_image_lacks_are_roots", directories_that_the_image_lacks_are_roots),
    ("environment_and_workdir_are_as_asked", environment_and_workdir_are_as_asked),
    ("no_descriptor_leaks_in", no_descriptor_leaks_in),
    ("hundred_layers_make_a_root", hundred_layers_make_a_root),
    ("hostile_links_stay_inside", hostile_links_stay_inside),
    ("mount_points_must_be_directories", mount_points_must_be_directories),
    ("hostile_user_files_are_not_read", hostile_user_files_are_not_read),
    ("machines_devices_are_out_of_reach", machines_devices_are_out_of_reach),
    ("any_user_may_open_its_output_anew", any_user_may_open_its_output_anew),
    ("any_user_may_listen_and_ping", any_user_may_listen_and_ping),
    ("working_directory_must_be_inside", working_directory_must_be_inside),
    ("own_binary_is_out_of_reach", own_binary_is_out_of_reach),
];

fn namespaces_are_its_own() {
    in_world(async |world| {
        let runtime = world.open().await;
        let info = runtime.create(id("a"), spec(&["sleep", "1000"])).await.unwrap();
        let link = |pid: &str, kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        let pid = info.pid.unwrap().to_string();
        for kind in ["pid", "mnt", "uts", "ipc", "net", "cgroup"] {
            assert_ne!(link(&pid, kind), link("self", kind), "{kind}");
        }
        let (_, output) = run(&runtime, "b", shell("echo $$; hostname; cat /proc/self/cgroup")).await;
        assert!(output.starts_with("1\nb\n"), "{output}");
        assert!(output.lines().skip(2).all(|l| l.ends_with(":/")), "{output}");
    });
}

async fn status(world: &crate::support::World, spec: ContainerSpec, name: &str) -> String {
    run(
        &world.open().await,
        name,
        ContainerSpec { args: vec!["cat".to_owned(), "/proc/self/status".to_owned()], ..spec },
    )
    .await
    .1
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|l| l.strip_prefix(name)).map(str::trim).unwrap_or_default()
}

fn capabilities_and_filter_are_dockers() {
    in_world(async |world| {
        let text = status(&world, ContainerSpec::default(), "a").await;
        for (name, expected) in [
            ("CapInh:", "0000000000000000"),
            ("CapPrm:", "00000000a80425fb"),
            ("CapEff:", "00000000a80425fb"),
            ("CapBnd:", "00000000a80425fb"),
            ("CapAmb:", "0000000000000000"),
            ("NoNewPrivs:", "0"),
            ("Seccomp:", "2"),
            ("SigBlk:", "0000000000000000"),
            ("SigIgn:", "0000000000000000"),
            ("Umask:", "0022"),
        ] {
            assert_eq!(field(&text, name), expected, "{name}");
        }
        let user = ContainerSpec { user: Some("app".to_owned()), ..ContainerSpec::default() };
        let text = status(&world, user, "b").await;
        assert_eq!((field(&text, "CapEff:"), field(&text, "CapBnd:")), ("0000000000000000", "00000000a80425fb"));
    });
}

fn added_and_dropped_capabilities_count() {
    in_world(async |world| {
        let spec = ContainerSpec {
            cap_add: vec!["NET_ADMIN".to_owned()],
            cap_drop: vec!["ALL".to_owned()],
            ..ContainerSpec::default()
        };
        assert_eq!(field(&status(&world, spec, "a").await, "CapEff:"), "0000000000001000");
    });
}

fn forbidden_calls_are_refused() {
    in_world(async |world| {
        let runtime = world.open().await;
        let script = "mount -t tmpfs x /tmp; echo $?; unshare -U true; echo $?";
        let (_, output) = run(&runtime, "a", shell(script)).await;
        assert!(!output.lines().any(|l| l == "0"), "{output}");
        assert_eq!(output.matches("ermi").count(), 2, "{output}");
    });
}

fn machines_secrets_are_masked() {
    in_world(async |world| {
        let runtime = world.open().await;
        let script = "for f in kcore keys timer_list latency_stats sched_debug; do test -e /proc/$f && head -c 1 /proc/$f; done; \
                      ls /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v :; \
                      echo 1 > /proc/sys/kernel/panic; touch /sys/x; touch /sys/fs/cgroup/x";
        let (_, output) = run(&runtime, "a", shell(script)).await;
        let told: Vec<&str> = output.lines().filter(|l| !l.is_empty()).collect();
        assert!(told.len() == 3 && told.iter().all(|l| l.contains("Read-only file system")), "{output}");
    });
}

fn read_only_root_takes_no_file() {
    in_world(async |world| {
        let runtime = world.open().await;
        let script =
            "touch /x; for f in hosts hostname resolv.conf; do echo >> /etc/$f; done; touch /dev/shm/y && echo shm";
        let spec = ContainerSpec { read_only: true, ..shell(script) };
        let (_, output) = run(&runtime, "a", spec).await;
        assert!(output.matches("Read-only file system").count() == 4 && output.contains("shm"), "{output}");
        let spec = shell("for f in hosts hostname resolv.conf; do echo x >> /etc/$f; done; cat /etc/hostname");
        assert_eq!(run(&runtime, "b", spec).await.1, "b\nx\n");
        // A working directory that the image lacks is made all the same, as Docker does.
        let workdir = Some("/made/here".to_owned());
        let spec = ContainerSpec { read_only: true, workdir, ..shell("pwd; touch x || echo sealed") };
        let (_, output) = run(&runtime, "c", spec).await;
        assert!(output.contains("/made/here") && output.contains("sealed"), "{output}");
    });
}

fn written_files_do_not_reach_the_layer() {
    in_world(async |world| {
        let runtime = world.open().await;
        let (_, output) = run(&runtime, "a", shell("echo new > /etc/passwd && cat /etc/passwd")).await;
        assert_eq!(output, "new\n");
        let layer = std::fs::read_to_string(world.image.layers[0].join("etc/passwd")).unwrap();
        assert!(layer.starts_with("root:"));
    });
}

fn user_is_looked_up_in_the_image() {
    in_world(async |world| {
        let runtime = world.open().await;
        let wanted = [
            ("app", "uid=1000(app) gid=100(users) groups=29(audio),100(users)\n/home/app\n"),
            ("1000:0", "uid=1000(app) gid=0(root) groups=0(root)\n/home/app\n"),
            ("4711", "uid=4711 gid=0(root) groups=0(root)\n/\n"),
        ];
        for (number, (user, expected)) in wanted.into_iter().enumerate() {
            let spec = ContainerSpec { user: Some(user.to_owned()), ..shell("id; echo $HOME") };
            let (_, output) = run(&runtime, &format!("c{number}"), spec).await;
            assert_eq!(output, expected, "{user}");
        }
        let spec = ContainerSpec { user: Some("app".to_owned()), ..spec(&["grep", "Groups", "/proc/self/status"]) };
        let (_, output) = run(&runtime, "groups", spec).await;
        assert_eq!(output.trim(), "Groups:\t29 100", "the own group is one of them");
        for (user, told) in [("ghost", "unable to find user ghost"), ("4294967295", "must be in range 0-2147483647")] {
            let nobody = ContainerSpec { user: Some(user.to_owned()), ..shell("id") };
            let error = runtime.create(id("d"), nobody).await.unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    });
}

fn standard_files_and_nodes_are_there() {
    in_world(async |world| {
        let runtime = world.open().await;
        let spec = ContainerSpec {
            hosts: vec!["10.9.9.9 db".to_owned()],
            dns: vec!["9.9.9.9".to_owned()],
            hostname: Some("front".to_owned()),
            ..shell(
                "cat /etc/hostname /etc/hosts /etc/resolv.conf; for n in null zero full random urandom tty; do test -c /dev/$n || echo no $n; done; \
                 echo x > /dev/null; test -d /dev/pts && test -d /dev/shm && test -d /dev/mqueue && readlink /dev/fd; cat; stat -c %a /dev/null",
            )
        };
        let (_, output) = run(&runtime, "a", spec).await;
        assert!(output.starts_with("front\n127.0.0.1\tlocalhost\n"), "{output}");
        assert!(
            output.ends_with("10.9.9.9 db\n127.0.0.1\tfront\nnameserver 9.9.9.9\n/proc/self/fd\n666\n"),
            "{output}"
        );
    });
}

fn directories_that_the_image_lacks_are_roots() {
    in_world(async |world| {
        std::fs::remove_dir_all(world.image.layers[0].join("etc")).unwrap();
        let runtime = world.open().await;
        let spec = ContainerSpec {
            workdir: Some("/srv/deep".to_owned()),
            ..shell("stat -c '%a %n' /etc /etc/hosts /srv /srv/deep")
        };
        let (_, output) = run(&runtime, "a", spec).await;
        assert_eq!(output, "755 /etc\n644 /etc/hosts\n755 /srv\n755 /srv/deep\n");
        let user = ContainerSpec { user: Some("4711".to_owned()), ..shell("echo x > /etc/passwd") };
        let (_, output) = run(&runtime, "b", user).await;
        assert!(output.contains("Permission denied"), "{output}");
    });
}

fn environment_and_workdir_are_as_asked() {
    in_world(async |world| {
        let runtime = world.open().await;
        let spec = ContainerSpec {
            env: vec!["A=b c".to_owned()],
            workdir: Some("/srv/deep".to_owned()),
            ..shell("pwd; echo $A; echo $HOME; echo $PATH")
        };
        let (_, output) = run(&runtime, "a", spec).await;
        assert_eq!(output, "/srv/deep\nb c\n/root\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n");
    });
}

fn no_descriptor_leaks_in() {
    in_world(async |world| {
        let runtime = world.open().await;
        // The directory that ls reads is its fourth descriptor.
        let (_, output) = run(&runtime, "a", spec(&["ls", "/proc/self/fd"])).await;
        assert_eq!(output, "0\n1\n2\n3\n");
    });
}

fn hundred_layers_make_a_root() {
    in_world(async |world| {
        let mut image = world.image.clone();
        for number in 0..100 {
            let layer = world.path().join("layers").join(format!("a-layer-with-quite-a-long-name-{number:064}"));
            std::fs::create_dir_all(&layer).unwrap();
            std::fs::write(layer.join("number"), number.to_string()).unwrap();
            image.layers.push(layer);
        }
        let runtime = skep_runtime::Runtime::open_bare(world.config.clone(), image).await.unwrap();
        let (_, output) = run(&runtime, "a", spec(&["cat", "/number"])).await;
        assert_eq!(output, "99\n");
    });
}

fn hostile_links_stay_inside() {
    in_world(async |world| {
        let layer = &world.image.layers[0];
        let outside = world.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, layer.join("proc")).unwrap();
        std::os::unix::fs::symlink(outside.join("hosts"), layer.join("etc/hosts")).unwrap();
        std::os::unix::fs::symlink("../../../../../..", layer.join("dev")).unwrap();
        let runtime = world.open().await;
        // Whether such an image runs is its own affair; what counts is that nothing is made outside.
        let _ = runtime.create(id("a"), spec(&["true"])).await;
        assert!(std::fs::read_dir(&outside).unwrap().next().is_none());
    });
}

fn mount_points_must_be_directories() {
    in_world(async |world| {
        let layer = &world.image.layers[0];
        for (name, target) in [("proc", "/"), ("proc", "."), ("dev", "/proc"), ("sys", "tmp"), ("sys", "nowhere")] {
            std::os::unix::fs::symlink(target, layer.join(name)).unwrap();
            let error = world.open().await.create(id("a"), spec(&["true"])).await.unwrap_err().to_string();
            assert!(error.contains(&format!("at /{name}: the image has a link or a file there")), "{error}");
            std::fs::remove_file(layer.join(name)).unwrap();
        }
    });
}

fn hostile_user_files_are_not_read() {
    in_world(async |world| {
        let file = world.image.layers[0].join("etc/passwd");
        let names = ContainerSpec { user: Some("app".to_owned()), ..spec(&["true"]) };
        let refused = async |name: &str| {
            let error = world.open().await.create(id(name), names.clone()).await.unwrap_err().to_string();
            assert!(error.contains("unable to find user app"), "{error}");
        };
        for target in ["/dev/zero", "/proc/self/environ", "/proc/self/fd/0", "passwd", "/tmp"] {
            std::fs::remove_file(&file).unwrap();
            std::os::unix::fs::symlink(target, &file).unwrap();
            refused("a").await;
        }
        std::fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        refused("b").await;
    });
}

fn machines_devices_are_out_of_reach() {
    in_world(async |world| {
        let runtime = world.open().await;
        let of_machine = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/dev/null").unwrap()).to_string();
        let (_, output) =
            run(&runtime, "a", shell("cat; for fd in 0 1 2; do stat -L -c %i /proc/self/fd/$fd; done")).await;
        let inodes: Vec<&str> = output.lines().collect();
        assert!(inodes.len() == 3 && !inodes.contains(&of_machine().as_str()), "{output}");
    });
}

fn any_user_may_open_its_output_anew() {
    in_world(async |world| {
        let runtime = world.open().await;
        let script = "echo out > /dev/stdout; echo err > /dev/stderr";
        let spec = ContainerSpec { user: Some("app".to_owned()), ..shell(script) };
        let (exit, output) = run(&runtime, "a", spec).await;
        let mut lines: Vec<&str> = output.lines().collect();
        lines.sort_unstable();
        assert_eq!((exit.code, lines), (0, vec!["err", "out"]));
    });
}

fn any_user_may_listen_and_ping() {
    in_world(async |world| {
        let runtime = world.open().await;
        let script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range";
        let (_, output) = run(&runtime, "a", shell(script)).await;
        assert_eq!(output, "0\n0\t2147483647\n");
    });
}

fn working_directory_must_be_inside() {
    in_world(async |world| {
        let runtime = world.open().await;
        for number in 0..20 {
            let workdir = Some(format!("/proc/self/fd/{number}"));
            let made = runtime.create(id("a"), ContainerSpec { workdir, ..spec(&["true"]) }).await;
            assert!(made.is_err(), "{number}");
        }
        let workdir = Some("/proc/1/root/../../etc".to_owned());
        let (_, output) = run(&runtime, "b", ContainerSpec { workdir, ..shell("pwd; head -n 1 passwd") }).await;
        assert_eq!(output, "/etc\nroot:x:0:0:root:/root:/bin/sh\n");
    });
}

fn own_binary_is_out_of_reach() {
    in_world(async |world| {
        let runtime = world.open().await;
        let init = runtime.create(id("a"), spec(&["true"])).await.unwrap().pid.unwrap();
        // A program of the container could keep this open and write to it later.
        let binary = std::fs::File::open(format!("/proc/{init}/exe")).unwrap();
        let flags = nix::sys::statvfs::fstatvfs(&binary).unwrap().flags();
        assert!(flags.contains(nix::sys::statvfs::FsFlags::ST_RDONLY));
    });
}
