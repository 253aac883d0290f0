//! The table at the end.

use super::job::Job;

/// Returns the jobs as a table, with how much faster than the first each was.
pub(super) fn table(jobs: &[Job]) -> String {
    let mut lines = vec![format!(
        "{:<34} {:>8}  {:>7}  {:<8} {:>7}",
        "job", "seconds", "hits", "result", "faster"
    )];
    let cold = jobs.first().map_or(0.0, |job| job.time.as_secs_f64());
    for job in jobs {
        let seconds = job.time.as_secs_f64();
        let hits = format!("{}/{}", job.hits, job.n_steps);
        let faster = format!("{:.1} ×", cold / seconds.max(0.001));
        lines.push(format!(
            "{:<34} {seconds:>8.1}  {hits:>7}  {:<8} {faster:>7}",
            job.name, job.result
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn columns_line_up() {
        let job = |name, seconds, hits| Job {
            name,
            time: Duration::from_secs(seconds),
            hits,
            n_steps: 7,
            result: "hit".to_owned(),
        };
        let text = table(&[job("cold job", 10, 0), job("warm job", 2, 7)]);
        let expected = "\
job                                 seconds     hits  result    faster
cold job                               10.0      0/7  hit        1.0 ×
warm job                                2.0      7/7  hit        5.0 ×";
        assert_eq!(text, expected);
    }
}
