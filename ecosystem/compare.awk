# Prints what each application counted on inet and on rs, and fails if anything differs,
# failed, or was not served by the backend it was meant to be served by.
BEGIN {
    FS = "\t"
    bad = rows = 0
    number = split(applications, names, " ")
    printf "\nOTP %-8s %-28s %-44s %s\n", release, "", "inet", "rs"
    for (i = 1; i <= number; i++) {
        compare(names[i], directory "/inet/" names[i], directory "/rs/" names[i])
    }
    printf "\n%d applications, %d results compared, %d bad\n", number, rows, bad
    exit (bad > 0 || rows == 0)
}

function compare(name, inet, rs,    a, b, order, n, i) {
    n = read(inet "/counts", a, order, 0)
    n = read(rs "/counts", b, order, n)
    for (i = 1; i <= n; i++) {
        if (!(order[i] in a)) a[order[i]] = "-"
        if (!(order[i] in b)) b[order[i]] = "-"
        row(name, order[i], a[order[i]], b[order[i]], a[order[i]] == b[order[i]] && order[i] != "FAILED")
    }
    peaks(name, inet "/sockets", rs "/sockets")
}

# All sockets of the one run are the C driver's, all of the other are ours, but where a
# script says that it is mixed.
function peaks(name, inet, rs,    a, b) {
    if ((getline a <inet) < 1) a = ""
    if ((getline b <rs) < 1) b = ""
    a = of(a, "peak_rs") " rs, " of(a, "peak_inet") " inet"
    b = of(b, "peak_rs") " rs, " of(b, "peak_inet") " inet"
    row(name, "most sockets at once", a, b, a ~ /^0 rs, [1-9]/ && b ~ (index(" " mixed " ", " " name " ") ? "^[1-9]" : "^[1-9][0-9]* rs, 0 inet"))
}

function of(line, key,    words, n, i) {
    n = split(line, words, " ")
    for (i = 1; i < n; i += 2) if (words[i] == key) return words[i + 1]
    return "?"
}

function row(name, what, a, b, good) {
    rows++
    if (!good) bad++
    printf "%-12s %-28s %-44s %-44s %s\n", name, what, a, b, good ? "" : "BAD"
}

function read(file, values, order, n,    line, fields) {
    while ((getline line <file) > 0) {
        split(line, fields, "\t")
        values[fields[1]] = fields[2]
        if (!known(order, n, fields[1])) order[++n] = fields[1]
    }
    close(file)
    return n
}

function known(order, n, what,    i) {
    for (i = 1; i <= n; i++) if (order[i] == what) return 1
    return 0
}
