"""Clients that are command line programs: run to the end, or kept as a group member that prints lines."""

import queue
import signal
import subprocess
import threading


def run(command, stdin=None, seconds=60, check=True):
    """Standard output of a command; a failure carries its last lines of standard error."""
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds)
    if check and done.returncode != 0:
        text = (done.stderr + done.stdout).decode(errors="replace").strip()
        raise RuntimeError("%s ended with %d: %s" % (command[0], done.returncode, text[-600:]))
    return done.stdout


class Lines:
    """A running command, its lines of output (and of errors, where `errors` is given) as they come."""

    def __init__(self, command, on_error_line=None):
        errors = subprocess.PIPE if on_error_line else subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL)
        self.lines = queue.Queue()
        self.reader = self.follow(self.process.stdout, self.lines.put)
        if on_error_line:
            self.follow(self.process.stderr, on_error_line)

    def follow(self, stream, take):
        def read():
            for line in stream:
                take(line.rstrip(b"\n"))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def take(self, seconds):
        """What has arrived, waiting up to `seconds` for the first line."""
        taken = []
        try:
            taken.append(self.lines.get(timeout=seconds))
            while True:
                taken.append(self.lines.get_nowait())
        except queue.Empty:
            pass
        if not taken and self.process.poll() is not None:
            raise RuntimeError("the consumer ended with %d" % self.process.returncode)
        return taken

    def stop(self):
        """SIGTERM, so that it leaves its group; the lines that came until it had ended."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise RuntimeError("the consumer did not end within 20 s of SIGTERM")
        self.reader.join(5)
        rest = []
        while not self.lines.empty():
            rest.append(self.lines.get_nowait())
        return rest
