package controlplane

import (
	"fmt"
	"os"
	"path/filepath"
)

// FindBinary is the path of a binary of the suite: in the directory if one is given, else in
// $KUBEBUILDER_ASSETS, else in bin/ of the repository that the working directory
// belongs to. $KUBEBUILDER_ASSETS as others fill it has no kube-controller-manager.
func FindBinary(dir, name string) (string, error) {
	dirs := []string{dir}
	if dir == "" {
		dirs = defaultDirs()
	}
	for _, d := range dirs {
		path := filepath.Join(d, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("find %s in %v: it is not there: run e2e/binaries/build.sh, or set KUBEBUILDER_ASSETS", name, dirs)
}

func defaultDirs() (dirs []string) {
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		dirs = append(dirs, assets)
	}
	if root, ok := repositoryRoot(); ok {
		dirs = append(dirs, filepath.Join(root, "bin"))
	}
	return dirs
}

// repositoryRoot is the nearest directory above the working directory that has
// the script that builds the binaries.
func repositoryRoot() (string, bool) {
	dir, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "e2e", "binaries", "build.sh")); err == nil {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}
