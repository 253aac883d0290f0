use super::super::observation::{ObservedStage, ObservedStep, Phase};
use super::super::{Layer, text};
use super::*;

const EVIL: &str = "RUN echo '<script>alert(1)</script>' \"&\" | tee a";

fn report() -> ImageReport {
    let stage = |name: &str, needs: &[usize]| ObservedStage {
        name: name.to_owned(),
        needed: true,
        needs: needs.to_vec(),
    };
    let step = |stage: &str, result, spared_seconds| ObservedStep {
        stage: stage.to_owned(),
        line: Some(3),
        instruction: EVIL.to_owned(),
        result,
        seconds: 1.0,
        spared_seconds,
        digest: None,
        reason: "why".to_owned(),
    };
    let job = Observation {
        image: "app</title><script>".to_owned(),
        time: "2026-11-25T08:00:00Z".to_owned(),
        strategy: None,
        key: None,
        failed_in: None,
        phases: vec![Phase {
            name: "build".to_owned(),
            seconds: 2.0,
            bytes: 0,
            outcome: "partial".to_owned(),
        }],
        stages: vec![stage("a", &[]), stage("b", &[0]), stage("c", &[0, 1])],
        steps: vec![
            step("a", StepResult::Hit, Some(40.0)),
            step("b", StepResult::Run, None),
        ],
        compared_with: Some("the last recipe".to_owned()),
        moved: vec!["<b>moved</b>".to_owned()],
    };
    ImageReport {
        spared_seconds: job.spared_seconds(),
        layers: vec![Layer {
            stage: "a".to_owned(),
            instruction: EVIL.to_owned(),
            bytes: 1000,
            entries: 2,
        }],
        history: vec![job.in_short()],
        job,
    }
}

#[test]
fn untrusted_text_stays_text() {
    let page = page(&[report()]);
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains("<b>"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    let markdown = text::markdown(&[report()]);
    assert!(!markdown.contains("<script"), "{markdown}");
    let row = markdown.lines().find(|line| line.contains("| hit |"));
    let bars = row.map(|row| row.replace("\\|", "").matches('|').count());
    assert_eq!(bars, Some(7), "{markdown}");
}

#[test]
fn the_page_needs_no_network_and_says_what_happened() {
    let page = page(&[report()]);
    for none in ["http://", "https://", "src=", "url(", "@import"] {
        assert!(!page.contains(none), "{none}");
    }
    assert!(page.contains("1 of 2 steps hit, sparing 40.0 s of step time; the job took 2.00 s"));
    // The stages a, b, c: each right of the one before, as c needs b and b needs a.
    assert_eq!(page.matches("class=\"stage ").count(), 3);
    assert_eq!(page.matches("class=\"edge\"").count(), 3);
    for x in [2, 212, 422] {
        assert!(page.contains(&format!("<rect x=\"{x}\" y=\"2\"")), "{x}");
    }
}

#[test]
fn a_failed_job_says_so() {
    let mut failed = report();
    failed.job.failed_in = Some("build".to_owned());
    assert_eq!(headline(&failed), "failed in build; 1 of 2 steps hit");
}
