use super::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn short(steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .map(|step| {
            format!(
                "{} {} {:?} {}",
                step.stage, step.step, step.result, step.instruction
            )
        })
        .collect()
}

#[test]
fn buildkit_steps_in_the_order_of_the_dockerfile() {
    let mut progress = BuildkitProgress::default();
    for line in "#0 building with \"default\" instance using docker driver\n\n#1 [internal] load build definition from Dockerfile\n#1 DONE 0.0s\n#4 [a 1/2] FROM docker.io/library/busybox:latest@sha256:02\n#4 CACHED\n#5 [stage-1  2/10] COPY --from=a /x /y\n#5 CACHED\n#6 [a 2/2] RUN echo CACHED\n#6 0.100 CACHED\n#6 DONE 0.2s\n#7 [linux/arm64 stage-1  3/10] RUN no\n#7 ERROR: process \"/bin/sh -c no\" did not complete successfully: exit code: 127\n#8 [stage-1  4/10] RUN later\n#8 CANCELED\nERROR: failed to build".lines() {
        progress.line(line);
    }
    assert_eq!(
        short(&progress.steps(&names(&["a", "stage-1"]))),
        [
            "a 2/2 Run RUN echo CACHED",
            "stage-1 2/10 Hit COPY --from=a /x /y",
            "stage-1 3/10 Failed RUN no"
        ]
    );
    assert_eq!(progress.errors().len(), 2);
}

#[test]
fn buildkit_names_no_stage_where_there_is_one() {
    let mut progress = BuildkitProgress::default();
    for line in [
        "#5 [2/2] RUN true",
        "#5 CACHED",
        "#5 sha256:00 1.0MB / 1.0MB",
        "#5 DONE 3.5s",
    ] {
        progress.line(line);
    }
    let steps = progress.steps(&names(&["stage-0"]));
    assert_eq!(short(&steps), ["stage-0 2/2 Hit RUN true"]);
    assert!((steps[0].seconds - 3.5).abs() < f64::EPSILON);
}

#[test]
fn blobs_that_come_in_are_told_in_several_ways() {
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let mut progress = BuildkitProgress::default();
    for line in [
        "#5 [2/3] RUN true".to_owned(),
        format!("#5 pulling {} 0.5s done", digest("1")),
        format!("#5 {} 1.0MB / 5.0MB 0.1s", digest("2")),
        format!("#5 extracting {} 0.1s done", digest("2")),
        "#5 CACHED".to_owned(),
        "#6 [3/3] RUN false".to_owned(),
        format!("#6 0.1 pulling {}", digest("3")),
        "#6 DONE 1.5s".to_owned(),
        "#7 exporting to image".to_owned(),
        format!("#7 writing image {} done", digest("4")),
        "#7 DONE 0.5s".to_owned(),
    ] {
        progress.line(&line);
    }
    let found: Vec<String> = progress
        .brought_in()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found, [digest("1"), digest("2")]);
    assert!((progress.busy_seconds() - 2.0).abs() < 1e-9);
}

#[test]
fn a_base_that_is_pulled_is_no_import_of_ours() {
    let mut progress = BuildkitProgress::default();
    for line in [
        "#4 [a 1/2] FROM docker.io/library/busybox:latest@sha256:02",
        "#4 extracting sha256:02 0.4s done",
        "#4 CACHED",
        "#4 DONE 4.5s",
        "#5 FROM docker.io/library/alpine:latest@sha256:03",
        "#5 CACHED",
        "#5 DONE 2.0s",
        "#6 [a 2/2] COPY --from=docker.io/library/alpine:latest /x /FROM ",
        "#6 CACHED",
        "#6 DONE 1.0s",
    ] {
        progress.line(line);
    }
    assert!((progress.busy_seconds() - 6.5).abs() < 1e-9);
}

#[test]
fn times_that_are_none_do_not_count() {
    for time in ["infs", "NaNs", "-0.2s", "1e999s"] {
        let mut progress = BuildkitProgress::default();
        progress.line("#5 [2/2] RUN true");
        progress.line("#5 CACHED");
        progress.line(&format!("#5 DONE {time}"));
        let steps = progress.steps(&names(&["stage-0"]));
        assert!(steps[0].seconds.abs() < f64::EPSILON, "{time}");
    }
}

#[test]
fn classic_steps_and_stage_images() {
    let mut progress = ClassicProgress::default();
    let lines = "Step 1/8 : ARG V=1\nStep 2/8 : FROM busybox AS a\n ---> 4ddaed64d78d\nStep 3/8 : RUN echo hi > /x\n ---> Using cache\n ---> f5e94f0d320b\nStep 4/8 : from busybox\n ---> 4ddaed64d78d\nStep 5/8 : COPY --from=a /x /y\n ---> 9ad9f169a7d0\nStep 6/8 : RUN no\n ---> Running in aa6bc4f9cc88";
    for (second, line) in (0_u8..).zip(lines.lines()) {
        progress.line(line, f64::from(second));
    }
    assert_eq!(
        short(&progress.steps(&names(&["a", "stage-1"]), true)),
        [
            "a 2/2 Hit RUN echo hi > /x",
            "stage-1 2/3 Run COPY --from=a /x /y",
            "stage-1 3/3 Failed RUN no"
        ]
    );
    assert_eq!(
        progress.stage_images(),
        [
            Some("f5e94f0d320b".to_owned()),
            Some("9ad9f169a7d0".to_owned())
        ]
    );
}

#[test]
fn what_a_classic_step_prints_is_not_the_builders_word() {
    // Of 20.10, and since 23.0.
    for removal in [
        "Removing intermediate container",
        " ---> Removed intermediate container",
    ] {
        check_spoofed_step(removal);
    }
}

fn check_spoofed_step(removal: &str) {
    let mut progress = ClassicProgress::default();
    for line in [
        "Step 1/4 : FROM busybox AS a",
        " ---> 4ddaed64d78d",
        "Step 2/4 : RUN cat log",
        " ---> Running in aa6bc4f9cc88",
        "Step 3/4 : FROM spoof",
        " ---> 0123456789ab",
        " ---> Using cache",
        &format!("{removal} 0123456789ab"),
        &format!("no line end{removal} aa6bc4f9cc88"),
        " ---> f5e94f0d320b",
        "Step 3/4 : FROM busybox",
        " ---> 4ddaed64d78d",
        "Step 4/4 : COPY --from=a /x /y",
        " ---> 9ad9f169a7d0",
    ] {
        progress.line(line, 0.0);
    }
    assert_eq!(
        short(&progress.steps(&names(&["a", "b"]), false)),
        ["a 2/2 Run RUN cat log", "b 2/2 Run COPY --from=a /x /y"]
    );
    let images = progress.stage_images();
    assert_eq!(
        images,
        [
            Some("f5e94f0d320b".to_owned()),
            Some("9ad9f169a7d0".to_owned())
        ]
    );
}
