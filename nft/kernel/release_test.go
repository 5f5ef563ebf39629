package kernel

import "testing"

func TestCheckRelease(t *testing.T) {
	for release, want := range map[string]string{
		"5.13.0":                   "",
		"5.14.0-503.el9.x86_64":    "",
		"6.1.0-50-cloud-amd64":     "",
		"7.0-rc1":                  "",
		"5.10.0-46-cloud-amd64":    "use nf_tables: the kernel is too old: it is 5.10.0-46-cloud-amd64, and must be 5.13 or newer",
		"5.4.0":                    "use nf_tables: the kernel is too old: it is 5.4.0, and must be 5.13 or newer",
		"4.18.0-553.el8_10.x86_64": "use nf_tables: the kernel is too old: it is 4.18.0-553.el8_10.x86_64, and must be 5.13 or newer",
	} {
		got := ""
		if err := checkRelease(release); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("release %s: error %q, want %q", release, got, want)
		}
	}
}

// KernelAtLeast is for tests of what newer kernels have.
var KernelAtLeast = kernelAtLeast
