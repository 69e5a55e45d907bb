name=world
cat <<EOF
hello $name $((6*7))
  `echo sub`
EOF
cat <<'EOF'
no $expansion `here`
EOF
cat <<-EOF
	tabs
	gone
	EOF
