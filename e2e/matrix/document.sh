# document_section NAME FILE replaces a section of a document by the standard
# input: what stands between "<!-- begin NAME -->" and "<!-- end NAME -->".
document_section() {
	cat >"$2.section"
	awk -v name="$1" -v section="$2.section" '
		$0 == "<!-- end " name " -->" { inside = 0 }
		!inside { print }
		$0 == "<!-- begin " name " -->" {
			inside = 1
			while ((getline line < section) > 0) print line
		}' "$2" >"$2.new"
	mv "$2.new" "$2"
	rm "$2.section"
}
