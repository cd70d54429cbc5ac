//! A process and its children, of any depth: some routers are a launcher and the process that does the work.

use std::fs;

/// The process ids of the tree, the root first. A process that has ended is left out.
pub fn pids(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(pid) = found.get(at).copied() {
        found.extend(children(pid));
        at += 1;
    }
    found
}

/// Children of every thread of a process.
fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn children_of_children_belong_to_the_tree() {
        // The inner shell lives until its input, which is this test's end of the pipe, is closed.
        let script = "sh -c 'echo ready; read line'; true";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut ready)
            .unwrap();
        let found = pids(child.id());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!((ready.as_str(), found.len(), found[0]), ("ready\n", 2, child.id()));
    }
}
